"use strict";
// The words of marks in charts, on hover, tap and by arrow keys. Without this script browsers show them on hover.
(() => {
  const REACH = 24; // pixels from a mark that still point at it
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);

  const place = (svg, mark) => {
    const at = svg.createSVGPoint();
    [at.x, at.y] = mark.at;
    return at.matrixTransform(svg.getScreenCTM());
  };

  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".mark.on").forEach((g) => g.classList.remove("on"));
  };

  const show = (svg, mark) => {
    hide();
    mark.g.classList.add("on");
    mark.g.parentNode.append(mark.g); // above its neighbours
    const [said, ...verdict] = mark.told.split("\n");
    const first = document.createElement("p");
    first.dir = "auto";
    first.textContent = said;
    tip.replaceChildren(first);
    if (verdict.length) {
      const second = document.createElement("p");
      second.className = "verdict";
      second.textContent = verdict.join("\n");
      tip.append(second);
    }
    tip.hidden = false;
    const { x, y } = place(svg, mark);
    const wide = document.documentElement.clientWidth;
    tip.style.left = Math.max(8, Math.min(x - tip.offsetWidth / 2, wide - tip.offsetWidth - 8)) + scrollX + "px";
    const above = y - tip.offsetHeight - 14;
    tip.style.top = (above > 4 ? above : y + 14) + scrollY + "px";
  };

  for (const svg of document.querySelectorAll("svg.chart")) {
    const marks = [...svg.querySelectorAll(".mark")].map((g) => {
      const title = g.querySelector("title");
      const told = title.textContent;
      title.remove(); // one tooltip, not two
      return { g, told, at: g.dataset.at.split(" ").map(Number) };
    });
    if (!marks.length) continue;
    let current = null;
    svg.tabIndex = 0;
    svg.classList.add("live");

    const nearest = (event) => {
      let best = null, least = REACH * REACH;
      for (const mark of marks) {
        const { x, y } = place(svg, mark);
        const far = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
        if (far < least) [best, least] = [mark, far];
      }
      return best;
    };
    const point = (event) => {
      const found = nearest(event);
      if (found === current && !tip.hidden) return;
      current = found || current;
      found ? show(svg, found) : hide();
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    svg.addEventListener("focus", () => svg.matches(":focus-visible") && show(svg, (current ||= marks[0])));
    svg.addEventListener("blur", hide);

    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      const way = ways[event.key];
      if (event.key === "Escape") hide();
      if (!way) return;
      event.preventDefault();
      current ||= marks[0];
      // The nearest mark that way; what lies aside counts as farther.
      let best = null, least = Infinity;
      for (const mark of marks) {
        const dx = mark.at[0] - current.at[0], dy = mark.at[1] - current.at[1];
        const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (along > 0 && along + 2 * aside < least) [best, least] = [mark, along + 2 * aside];
      }
      if (best) current = best;
      show(svg, current);
    });
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("pointerdown", (event) => event.target.closest("svg.chart") || hide());
})();
