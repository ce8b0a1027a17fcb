// The plain page: a form for any announced job, and the jobs with their progress and results, as they happen.

import { artifactUrl, fits, h, makeForm, words } from "./form.js";
import { Socket } from "./socket.js";

const UNFINISHED = ["held", "waiting", "queued", "running"];
const PAGE = 50; // jobs shown at first, and added by "Show older jobs"
const NOTES = 5; // of what a job says while it runs, the latest
const LOOK_AGAIN = 2000; // milliseconds
const LONGEST_TEXT = 20_000; // characters of a text shown inline
const $ = (id) => document.getElementById(id);
const jobs = new Map(); // id: {record, outputs, card, progress, preview}
const dirty = new Set(); // jobs to draw with the next frame
let catalogue = {}; // announced jobs by full name
let installing = new Set(); // names of plugins
let form, limits, lastEvent, refreshing, complaint, looking;
let shown = PAGE;

const socket = new Socket(received, (state, wait) => connectionChanged(state, wait).catch((error) => socket.connected && complain(error)));

async function connectionChanged(state, wait) {
  const tell = (...text) => $("connection").replaceChildren(...text);
  $("connection").dataset.state = state;
  if (state === "refused") return tell("This page has lost its permission. ", h("a", { href: "/" }, "Unlock it"));
  if (state === "lost") {
    const soon = wait < 1500 ? "" : ` in ${Math.round(wait / 1000)} s`;
    return tell(`Connection lost, trying again${soon}. Your jobs are safe.`);
  }
  $("notice").hidden = true;
  const since = lastEvent;
  const { seq, resync } = await socket.call("subscribe", since === undefined ? {} : { since });
  if (resync) for (const job of jobs.values()) forget(job);
  lastEvent = seq;
  limits = (await socket.call("hello")).limits;
  await readPlugins();
  await refresh();
  const missed = seq - since;
  const caughtUp = resync ? "everything was read anew" : `caught up on ${missed} ${missed === 1 ? "event" : "events"}`;
  lookForFullPage();
  tell(since === undefined ? "Connected" : `Connected again, ${caughtUp}`);
}

/** Offers the full page once it is there; nobody is taken there in the middle of a form. */
async function lookForFullPage() {
  clearTimeout(looking);
  const { state, text } = await fetch("/web").then((answer) => answer.json()).catch(() => ({}));
  const said = {
    building: ["The full page is being made, this one works meanwhile. ", text],
    ready: [h("a", { href: "/" }, "Open the full page")],
    failed: ["The full page could not be made. ", text],
  }[state];
  $("full").replaceChildren(...(said ?? []));
  $("full").hidden = !said;
  if (state === "building") looking = setTimeout(lookForFullPage, LOOK_AGAIN);
}

/** An event of the server; `seq` numbers those that can be replayed. */
function received(event, body) {
  lastEvent = body.seq ?? lastEvent;
  const job = jobs.get(event === "artifact" ? body.job : body.id);
  if (event === "job" || event === "queue") refreshSoon();
  if (event === "plugins") readPlugins().catch(complain);
  if (event === "models") form?.renew(body.kinds.map((kind) => `models/${kind}`));
  if (!job) return;
  if (event === "job") {
    const { outputs, seq, ...changed } = body;
    Object.assign(job.record, changed);
    URL.revokeObjectURL(job.preview);
    job.progress = job.preview = undefined;
    if (!UNFINISHED.includes(body.state)) readEnd(job).catch(complain);
  } else if (event === "artifact") job.outputs.set(body.id, body);
  else if (event === "progress") {
    const first = job.progress?.phase === body.phase ? job.progress.first : { step: body.step, time: Date.now() };
    job.progress = { ...body, first };
  } else if (event === "log" && !body.text.startsWith("Traceback")) { // which the error sums up
    job.notes = [...(job.notes ?? []), body.text].slice(-NOTES);
  } else if (event === "preview") {
    URL.revokeObjectURL(job.preview);
    job.preview = URL.createObjectURL(new Blob([body.image], { type: "image/jpeg" }));
  }
  draw(job);
}

async function readPlugins() {
  const { plugins } = await socket.call("plugins");
  const others = plugins.filter(({ status }) => status === "installing" || status === "refused");
  installing = new Set(plugins.filter(({ status }) => status === "installing").map(({ name }) => name));
  $("plugins").replaceChildren(
    ...others.map(({ name, status, error }) =>
      h("li", {}, h("b", {}, name), status === "refused" ? ` was refused: ${error}` : " is being installed …"),
    ),
    ...plugins.flatMap(({ name, notes }) => notes.map((note) => h("li", {}, h("b", {}, name), `: ${note}`))),
  );
  const announced = plugins.flatMap((plugin) => plugin.jobs.map((job) => [`${plugin.name}.${job.name}`, job]));
  if (form && !announced.length && installing.size) return; // the server has just started: they will come back
  catalogue = Object.fromEntries(announced);
  $("choice").replaceChildren(
    ...plugins.flatMap((plugin) => [false, true].map((light) =>
      h("optgroup", { label: (plugin.title ?? words(plugin.name)) + (light ? ", answered at once" : "") },
        ...plugin.jobs.filter((job) => job.light === light).map(({ name }) => h("option", { value: `${plugin.name}.${name}` }, name))),
    )).filter((group) => group.children.length),
  );
  const first = announced.find(([, { inputs, light }]) => !light && Object.values(inputs).every(({ optional }) => optional));
  const wanted = [form?.name, localStorage.getItem("job"), first?.[0], announced[0]?.[0]];
  const name = wanted.find((each) => each in catalogue);
  $("form").hidden = !name;
  if (!name) return;
  $("choice").value = name;
  if (JSON.stringify(form?.job) !== JSON.stringify(catalogue[name])) choose(name);
}

/** Shows the form of a job, with the values that it had last. */
function choose(name) {
  const saved = JSON.parse(localStorage.getItem(`values ${name}`) ?? "null");
  const job = catalogue[name];
  $("choice").value = name;
  $("about").textContent = job.help;
  $("form-error").hidden = $("answer").hidden = true;
  try {
    form = { name, ...makeForm(job, (event, data) => socket.call(event, data), limits, saved) };
    $("fields").replaceChildren(form.element);
  } catch (error) {
    complain(new Error(`The form of ${name} cannot be shown, its schema is not understood: ${error.message}.`));
  }
}

function remember() {
  localStorage.setItem("job", form.name);
  localStorage.setItem(`values ${form.name}`, JSON.stringify(form.state()));
}

/** Says for a while that something could not be done. */
function complain(error) {
  clearTimeout(complaint);
  $("notice").textContent = sentence(error);
  $("notice").hidden = false;
  complaint = setTimeout(() => ($("notice").hidden = true), 10_000);
}

function showErrors(shownForm, error) {
  $("form-error").textContent = shownForm.showErrors(error);
  $("form-error").hidden = !$("form-error").textContent;
}

const sentence = ({ message, hint }) => [message, hint].filter(Boolean).join(" ");

async function submit(event) {
  event.preventDefault();
  const sent = form;
  const reference = [...crypto.getRandomValues(new Uint32Array(4))].join("-"); // sent twice, it is still one job
  $("said").textContent = socket.connected ? "" : "Waits for the connection …";
  $("answer").hidden = true;
  remember();
  try {
    const values = await sent.values();
    if (sent.job.light) {
      $("said").textContent = "Asks …";
      return showAnswer(sent, await socket.call("call", { job: sent.name, ...values }));
    }
    const job = await queue({ job: sent.name, ...values, client_ref: reference });
    showErrors(sent, null);
    $("said").textContent = `Queued at ${new Date(job.created * 1000).toLocaleTimeString()}`;
    merge(job);
    arrange();
  } catch (error) {
    $("said").textContent = "";
    showErrors(sent, error);
  }
}

/** Shows what a light job returned; a form that is in it can be opened. */
function showAnswer(sent, { outputs }) {
  showErrors(sent, null);
  $("said").textContent = "";
  const shown = outputs.flatMap((value) => {
    const wanted = value?.form;
    const name = Object.keys(catalogue).find((each) => each.split(".")[1] === wanted?.job);
    const text = h("pre", { tabIndex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
    return [name ? button(`Open in ${wanted.job}`, () => openForm(name, wanted.params, wanted.inputs)) : "", text];
  });
  $("answer").replaceChildren(...shown);
  $("answer").hidden = false;
  $("answer").scrollIntoView({ block: "nearest" });
}

/** Submits a request; if the server has just started, waits until it has the plugin. */
async function queue(request) {
  for (;;) {
    try {
      return (await socket.call("submit", request)).job;
    } catch (error) {
      if (error.code === "unknown_job") await readPlugins();
      if (error.code !== "unknown_job" || !installing.has(request.job.split(".")[0])) throw error;
      $("said").textContent = "Waits for the plugin …";
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** Puts a job's parameters, with the seed that it really had, and its inputs into the form. */
async function reuse({ record, outputs }) {
  if (!(record.name in catalogue)) return complain(new Error(`No plugin announces ${record.name} just now.`));
  const { properties = {} } = catalogue[record.name].params;
  const seed = Object.entries(properties).find(([, { ui }]) => ui?.widget === "seed")?.[0];
  const drawn = outputs.values().next().value?.facts.seed;
  await openForm(record.name, { ...record.params, ...(seed && drawn !== undefined && { [seed]: drawn }) }, record.inputs);
}

/** Shows the form of a job with these values, and artifacts as its inputs. */
async function openForm(job, params, inputs) {
  choose(job);
  form.fill(params);
  for (const [name, given] of Object.entries(inputs)) {
    const items = [given].flat();
    const found = items.map(async (item) => {
      if (typeof item === "string") return [(await socket.call("artifact", { id: item })).artifact];
      const { artifacts } = await socket.call("artifacts", { job: item.job, limit: 1000 });
      return artifacts.filter(({ idx }) => idx === (item.index ?? idx)).sort((a, b) => a.idx - b.idx);
    });
    form.use(name, (await Promise.all(found)).flat(), true);
  }
  remember();
  $("create").scrollIntoView();
}

function refreshSoon() {
  refreshing ??= setTimeout(() => refresh().catch(complain), 300);
}

/** Reads the newest jobs, the running ones and the state of the queue. */
async function refresh() {
  const asked = [
    socket.call("jobs", { limit: Math.min(shown + 1, 1000) }),
    socket.call("jobs", { state: "running", limit: 100 }),
    socket.call("queue"),
  ];
  clearTimeout(refreshing);
  refreshing = null;
  const [newest, running, { paused }] = await Promise.all(asked);
  const more = newest.jobs.splice(shown).length > 0;
  for (const record of [...newest.jobs, ...running.jobs]) merge(record);
  $("older").hidden = !more;
  $("pause").hidden = false;
  $("pause").textContent = paused ? "Resume the queue" : "Pause the queue";
  $("pause").dataset.action = paused ? "resume" : "pause";
  const queued = newest.jobs.filter(({ state }) => state === "queued").length;
  const parts = [`${running.jobs.length} running`, `${queued}${more && queued ? "+" : ""} queued`, paused && "queue paused"];
  $("counts").textContent = parts.filter(Boolean).join(" · ");
  document.title = running.jobs.length ? `${running.jobs.length} running · stable-core` : "stable-core";
  arrange();
}

/** Takes a record that a call returned; it may be older than the last event. */
function merge(record) {
  const job = jobs.get(record.id);
  if (job && UNFINISHED.includes(record.state) && !UNFINISHED.includes(job.record.state)) return;
  if (job) Object.assign(job.record, record);
  else {
    const fresh = { record, outputs: new Map(), card: makeCard(record.id) };
    jobs.set(record.id, fresh);
    if (record.state === "running" || !UNFINISHED.includes(record.state)) readOutputs(fresh).catch(complain);
  }
  draw(jobs.get(record.id));
}

async function readEnd(job) {
  Object.assign(job.record, (await socket.call("job", { id: job.record.id })).job);
  await readOutputs(job);
}

async function readOutputs(job) {
  const { artifacts } = await socket.call("artifacts", { job: job.record.id, limit: 1000 });
  job.outputs = new Map(artifacts.sort((a, b) => a.idx - b.idx).map((artifact) => [artifact.id, artifact]));
  draw(job);
}

/** Running jobs first, then the newest; older ones than are to be shown go. */
function arrange() {
  const runs = ({ record }) => record.state === "running";
  const order = (a, b) => runs(b) - runs(a) || (a.record.id < b.record.id ? 1 : -1);
  const sorted = [...jobs.values()].sort(order);
  const visible = sorted.filter((job, index) => index < shown || runs(job) || void forget(job));
  visible.forEach(({ card }, index) => {
    if ($("list").children[index] !== card.element) $("list").insertBefore(card.element, $("list").children[index]);
  });
  $("empty").hidden = visible.length > 0;
}

function forget(job) {
  URL.revokeObjectURL(job.preview);
  job.card.element.remove();
  jobs.delete(job.record.id);
}

/** The empty parts of a job's card; `paint` fills them. */
function makeCard(id) {
  const parts = {
    media: h("div", { className: "media" }), name: h("h2"), state: h("span", { className: "state" }),
    bar: h("progress", { max: 1 }), step: h("p", { className: "step" }), summary: h("summary"), params: h("dl"),
    notes: h("p", { className: "notes" }), error: h("p", { className: "error" }), time: h("time"), actions: h("div", { className: "row" }), figures: new Map(),
  };
  const { media, name, state, bar, step, summary, params, notes, error, time, actions } = parts;
  parts.element = h("article", { id }, media, h("div", { className: "title" }, name, state), bar, step,
    h("details", {}, summary, params), notes, error, h("div", { className: "foot" }, time, actions));
  return parts;
}

function draw(job) {
  if (!dirty.size) requestAnimationFrame(() => [...dirty].forEach((each) => dirty.delete(each) && paint(each)));
  dirty.add(job);
}

function paint(job) {
  const { record, outputs, progress, preview, notes = [], card } = job;
  const { state, params, error, metrics } = record;
  const running = state === "running";
  card.bar.hidden = card.step.hidden = !running;
  if (running) paintProgress(card, progress);
  paintResults(card, outputs, running && preview, record.name);
  card.notes.hidden = !notes.length;
  card.notes.textContent = notes.join("\n");
  card.error.hidden = state !== "failed";
  card.error.textContent = error ? sentence(error) : "";
  const seconds = metrics?.total_seconds;
  const took = metrics?.reused_from ? " · made before" : seconds === undefined ? "" : ` · ${duration(seconds)}`;
  card.time.textContent = clock(record.created) + took;
  if (card.drawn === state || !params) return;
  card.drawn = state;
  card.element.className = `job ${state}`;
  const [plugin, name] = record.name.split(".");
  card.name.title = record.name;
  card.name.replaceChildren(name, h("span", { className: "note" }, ` ${plugin.replaceAll("_", " ")}`));
  card.state.textContent = state;
  card.summary.textContent = summary(record);
  const inputs = Object.entries(record.inputs).filter(([, items]) => items.length);
  card.params.replaceChildren(
    ...inputs.flatMap(([key, items]) => [h("dt", {}, words(key)), h("dd", {}, ...items.flatMap(inputLink))]),
    ...Object.entries(params).filter(([key, value]) => !usual(record.name, key, value)).flatMap(([key, value]) => [
      h("dt", {}, words(key)), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
    ]),
  );
  const again = { done: "Again", failed: "Retry", cancelled: "Retry" }[state];
  const act = (label, event, more = {}) =>
    button(label, () => socket.call(event, { id: record.id, ...more }).then(({ job }) => merge(job)));
  const several = running && catalogue[record.name]?.output.list; // only these may have something to keep, or a next one
  card.actions.replaceChildren(
    ...(several ? [act("Skip", "skip"), act("Stop", "cancel", { keep_partial: true })] : []),
    ...(again ? [act(again, "retry")] : [act("Cancel", "cancel")]),
    ...(state === "held" ? [act("Release", "release")] : []), button("Edit", () => reuse(job)),
  );
}

/** Whether a parameter has its default, so that nobody needs to read it. */
function usual(name, key, value) {
  const known = catalogue[name]?.params.properties[key];
  return known && "default" in known && JSON.stringify(known.default) === JSON.stringify(value);
}

function paintProgress(card, progress) {
  card.bar.removeAttribute("value"); // without one it says "busy"
  card.step.textContent = "Starting …";
  if (!progress) return;
  const { step, total, phase, first, eta_seconds, next_output: next } = progress;
  if (total > 0) card.bar.value = step / total;
  const pace = step > first.step ? (Date.now() - first.time) / 1000 / (step - first.step) : undefined;
  const left = eta_seconds ?? (pace && pace * (total - step));
  const soon = next?.eta_seconds > 0.5 && `number ${next.index + 1} in ${duration(next.eta_seconds)}`;
  const parts = [phase, `${total > 1 ? Math.floor(step) : step} of ${total}`, soon, left > 0.5 && `${duration(left)} left`];
  card.step.textContent = words(parts.filter(Boolean).join(" · "));
}

function paintResults(card, outputs, preview, name) {
  const wanted = [...outputs.values()].sort((a, b) => a.idx - b.idx);
  const keys = new Set(wanted.map(({ id, sha256 }) => id + sha256));
  for (const [key, figure] of card.figures) if (!keys.has(key)) card.figures.delete(key) && figure.remove();
  for (const artifact of wanted) {
    const key = artifact.id + artifact.sha256;
    if (!card.figures.has(key)) card.figures.set(key, card.media.appendChild(makeFigure(artifact, name)));
  }
  if (preview) {
    card.preview ??= h("img", { className: "preview", alt: `Preview of ${name}` });
    card.preview.src = preview;
    card.media.append(card.preview);
  } else card.preview?.remove();
  card.media.hidden = !card.media.children.length;
}

/** One result: the thing itself, what is known of it, and what can be done with it. */
function makeFigure(artifact, name) {
  const { kind, idx, facts } = artifact;
  const url = artifactUrl(artifact);
  const picture = fits(kind, "image");
  const text = h("pre", { tabIndex: 0 });
  if (kind === "text" || kind === "json") readText(url, text);
  const content = picture
    ? h("a", { href: url, target: "_blank" },
        h("img", { loading: "lazy", alt: `Result ${idx + 1} of ${name}`, width: facts.width, height: facts.height, src: url }))
    : kind === "audio" || kind === "video" ? h(kind, { controls: true, preload: "metadata", src: url }) : text;
  const size = picture ? `${facts.width} × ${facts.height}` : "";
  const menu = h("details", { className: "menu" }, h("summary", {}, "Use"));
  menu.addEventListener("toggle", () => menu.open && fillMenu(menu, artifact));
  const caption = h("figcaption", {}, h("span", { title: size }, "seed" in facts ? `seed ${facts.seed}` : size),
    h("a", { href: url, download: "" }, "Save"), menu);
  return h("figure", { className: kind }, content, caption);
}

async function readText(url, element) {
  const answer = await fetch(url).catch(() => null);
  const text = answer?.ok ? await answer.text() : "This result cannot be read just now.";
  element.textContent = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)} …` : text;
}

/** One button for each input of any job that takes this result. */
function fillMenu(menu, artifact) {
  const places = Object.entries(catalogue).flatMap(([job, { inputs }]) =>
    Object.entries(inputs).filter(([, { kind }]) => fits(artifact.kind, kind)).map(([input]) => [job, input]));
  const buttons = places.map(([job, input]) =>
    button(`${job.split(".")[1]}: ${words(input).toLowerCase()}`, () => {
      menu.open = false;
      if (form.name !== job) choose(job);
      form.use(input, [artifact]);
      remember();
      $("create").scrollIntoView();
    }));
  menu.replaceChildren(menu.firstChild, h("div", {}, ...(buttons.length ? buttons : ["No job takes this."])));
}

function button(label, action) {
  const element = h("button", { type: "button" }, label);
  element.addEventListener("click", () => Promise.resolve(action()).catch(complain));
  return element;
}

function inputLink(item) {
  if (typeof item !== "string") return [`results of ${item.job} `];
  return [h("a", { href: artifactUrl({ id: item }), target: "_blank" }, item), " "];
}

/** The prompt, or whatever a person would know the job by. */
function summary({ name, params }) {
  const properties = catalogue[name]?.params.properties ?? {};
  const prompt = Object.keys(params).find((key) => properties[key]?.ui?.widget === "textarea" && params[key]);
  const changed = Object.entries(params).filter(([key, value]) => value !== properties[key]?.default);
  return prompt ? params[prompt] : changed.map(([key, value]) => `${words(key)} ${JSON.stringify(value)}`).join(" · ") || "Usual values";
}

function clock(seconds) {
  const time = new Date(seconds * 1000);
  const today = time.toDateString() === new Date().toDateString();
  const short = { hour: "numeric", minute: "2-digit" };
  return today ? time.toLocaleTimeString([], short) : time.toLocaleString([], { ...short, day: "numeric", month: "short" });
}

function duration(seconds) {
  if (seconds >= 90) return `${Math.round(seconds / 60)} min`;
  return seconds >= 10 ? `${Math.round(seconds)} s` : `${seconds.toFixed(1)} s`;
}

$("form").addEventListener("submit", submit);
$("form").addEventListener("input", ({ target }) => target !== $("choice") && remember());
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
$("choice").addEventListener("change", () => {
  choose($("choice").value);
  remember();
});
$("defaults").addEventListener("click", () => {
  form.fill({});
  remember();
});
$("pause").addEventListener("click", () => socket.call("queue", { action: $("pause").dataset.action }).catch(complain));
$("older").addEventListener("click", () => {
  shown += PAGE;
  refresh().catch(complain);
});
document.addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll(".menu[open]")) menu.open = menu.contains(target);
});
document.addEventListener("keydown", ({ key }) => {
  const menu = key === "Escape" && document.querySelector(".menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.firstChild.focus();
});
