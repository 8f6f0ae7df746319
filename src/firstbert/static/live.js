// The page as the service gives it: a sentence is typed, the service is asked, the way is drawn.

const EXAMPLES = [
  "A warm, unexpectedly funny film that forgives its own clumsiness.",
  "I waited forty minutes for a soup that was cold.",
  "Not bad at all, and that surprised me.",
  "The last train had left, so we walked home through the snow.",
];
const KEY = "firstbert-key"; // in the tab's memory alone, gone when it is closed

const live = () => {
  let models = [], asked = 0, running = null, retry = null, waiting = 0;

  const input = make("textarea", { id: "text", rows: 2, maxlength: 20000, required: true, dir: "auto", spellcheck: "true" });
  const model = make("select", { id: "model" });
  const whose = make("p", { class: "whose", hidden: true }, make("label", { for: "model" }, "Model "), model);
  const button = make("button", { type: "submit" }, "Show its way");
  const problem = make("p", { class: "problem", role: "alert" });
  const key = make("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const door = make("form", { class: "door", hidden: true }, make("label", { for: "key" }, "API key"), key, make("button", { type: "submit" }, "Use it"));
  const form = make("form", { class: "ask" }, make("label", { for: "text" }, "Your sentence"), input,
    make("div", { class: "line" }, whose, button));
  const examples = make("p", { class: "examples" }, make("span", {}, "Or one of these: "), EXAMPLES.map((text) =>
    make("button", { type: "button", class: "plain", onclick: () => { input.value = text; go(); } }, text)));
  at("ask").append(form, examples, problem, door);

  const request = async (address, options = {}) => {
    const stored = sessionStorage.getItem(KEY);
    const headers = { Accept: "application/json", ...options.headers, ...(stored ? { Authorization: `Bearer ${stored}` } : {}) };
    const reply = await fetch(address, { ...options, headers });
    const body = await reply.json().catch(() => null);
    if (reply.ok && body) return body;
    const message = typeof body?.error === "string" ? body.error : `The service answered ${reply.status} and no more.`;
    throw Object.assign(new Error(message), { status: reply.status, after: Number(reply.headers.get("Retry-After")) || 1 });
  };

  const busy = (is) => {
    at("answer").setAttribute("aria-busy", String(is));
    document.body.classList.toggle("busy", is);
    button.textContent = is ? "Asking …" : "Show its way";
  };

  // Try again once the service has said it may be; until then the button counts down.
  const wait = (message, seconds) => {
    const until = Date.now() + 1000 * seconds;
    button.setAttribute("aria-disabled", "true");
    problem.textContent = `${message} Try again in ${plural(Math.ceil(seconds), "second")}.`;
    clearInterval(waiting);
    waiting = setInterval(() => {
      const left = Math.ceil((until - Date.now()) / 1000);
      button.textContent = left > 0 ? `Again in ${left} s` : "Try again";
      if (left > 0) return;
      clearInterval(waiting);
      button.removeAttribute("aria-disabled");
    }, 250);
  };

  const fail = (error, again) => {
    if (error.status === 401) {
      retry = again;
      door.hidden = false;
      problem.textContent = sessionStorage.getItem(KEY) ? `${error.message} The key isn’t the right one.` : `${error.message} This service asks for an API key.`;
      sessionStorage.removeItem(KEY);
      key.focus();
    } else if (error.status === 429 || error.status === 503) wait(error.message, Math.min(600, error.after));
    else problem.textContent = error.status ? error.message : "The service can’t be reached. Is it still running?";
  };

  const go = async (remember = true) => {
    if (button.getAttribute("aria-disabled") === "true") return; // it said when to come back
    if (!models.length) return start();
    const text = input.value, name = model.value, mine = ++asked;
    if (!text.trim()) {
      problem.textContent = "Type a sentence first.";
      input.focus();
      return;
    }
    running?.abort();
    running = new AbortController();
    problem.textContent = "";
    busy(true);
    try {
      const t = await request(`models/${encodeURIComponent(name)}/explain`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ inputs: text }), signal: running.signal,
      });
      if (mine !== asked) return; // a newer one is on its way
      show(t);
      at("status").textContent = `Answer: ${answered(t).join(", ") || "no label"}, ${percent(t.answer.score)}${t.answer.unsure ? ", unsure" : ""}.`;
      const query = `?${new URLSearchParams({ text, model: name })}`;
      if (remember && query !== location.search && query.length < 4000) history.pushState(null, "", query);
    } catch (error) {
      if (mine === asked) {
        busy(false);
        fail(error, () => go(remember));
      }
    } finally {
      if (mine === asked && at("answer").getAttribute("aria-busy") === "true") busy(false);
    }
  };

  const fromAddress = () => {
    const query = new URLSearchParams(location.search);
    input.value = query.get("text") || input.value || EXAMPLES[0];
    if (models.some(({ name }) => name === query.get("model"))) model.value = query.get("model");
    go(false);
  };

  const start = async () => {
    problem.textContent = "";
    try {
      ({ models } = await request("info"));
      model.replaceChildren(...models.map(({ name }) => make("option", { value: name }, name)));
      whose.hidden = models.length < 2;
      fromAddress();
    } catch (error) {
      fail(error, start);
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  model.addEventListener("change", () => go());
  door.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, key.value);
    key.value = "";
    door.hidden = true;
    problem.textContent = "";
    retry();
  });
  addEventListener("popstate", fromAddress);
  start();
};

live();
