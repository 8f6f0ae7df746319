def render(parts): return ""
def write(parts): pass
