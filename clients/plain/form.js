// A form made from what a plugin announces: the JSON schema of a job's parameters and the kinds of its inputs.

import { upload } from "./socket.js";

const ACCEPT = { image: "image/*", mask: "image/*", audio: ".wav,audio/wav", video: ".mp4,video/mp4" };
let made = 0; // for ids

/** An element; children are elements or text, which is never read as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else if (value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

export const fits = (given, wanted) =>
  given === wanted || (["image", "mask"].includes(given) && ["image", "mask"].includes(wanted));
export const artifactUrl = ({ id, sha256 = "" }) => `/artifacts/${encodeURIComponent(id)}?v=${sha256.slice(0, 12)}`;
export const words = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const meets = (wanted, value) => (wanted === true ? Boolean(value) : same(wanted, value));

/** The form of one announced job. `call` asks the server, `saved` is what `state()` gave earlier. */
export function makeForm(job, call, limits, saved) {
  const element = h("div", { className: "fields" });
  const inputs = Object.entries(job.inputs).map(([name, port]) => inputField(name, port, limits));
  const params = Object.entries(job.params.properties ?? {})
    .map(([name, schema]) => paramField(name, schema, job.params, call))
    .sort((a, b) => (a.ui.order ?? 1e9) - (b.ui.order ?? 1e9));
  const fields = [...params, ...inputs]; // an error at a name that both have is about the parameter
  const optional = inputs.filter((field) => field.optional).map((field) => field.element);
  const needed = inputs.filter((field) => !field.optional).map((field) => field.element);
  const more = optional.length && params.length ? [h("fieldset", {}, h("legend", {}, "Inputs"), ...optional)] : optional;
  element.append(...needed, ...grouped(params.filter(({ ui }) => !ui.advanced)), ...more, ...folded(params));
  fill(saved?.params ?? {});
  for (const field of inputs) field.setText(saved?.texts?.[field.name] ?? "");
  element.addEventListener("input", () => showFitting(params, element));

  /** Puts values into the fields; those not named get their defaults. */
  function fill(values) {
    for (const field of params) field.set(field.name in values ? values[field.name] : field.initial);
    showErrors(null);
    showFitting(params, element);
  }

  /** Shows what the server refused at the fields it is about; returns the text that belongs to none of them. */
  function showErrors(error) {
    for (const field of fields) field.showError("");
    const rest = [];
    for (const each of error?.errors ?? (error ? [error] : [])) {
      const name = String(each.field ?? "").split(".")[0];
      const field = fields.find((candidate) => candidate.name === name);
      if (field && !field.element.hidden) field.showError(each.message + (each.hint ? ` ${each.hint}` : ""));
      else rest.push([each.message, each.hint].filter(Boolean).join(" "));
    }
    const bad = element.querySelectorAll("[aria-invalid=true]");
    for (const each of bad) each.closest("details")?.setAttribute("open", "");
    bad[0]?.focus();
    element.querySelector(".error:not([hidden])")?.scrollIntoView({ block: "center" }); // below a list it may be far away
    return rest.join(" ");
  }

  return {
    element, job, fill, showErrors,
    /** Reads these lists of choices again. */
    renew(lists) {
      for (const box of element.querySelectorAll("select[data-list]")) {
        if (lists.includes(box.dataset.list)) box.dispatchEvent(new Event("renew"));
      }
    },
    /** What `submit` takes. Uploads texts first; throws an error with `field` for a value that is none. */
    async values() {
      const shown = params.filter((field) => !field.element.hidden).map((field) => [field.name, field.get()]);
      const uploaded = await Promise.all(inputs.map(async (field) => [field.name, await field.get()]));
      return {
        params: Object.fromEntries(shown.filter(([, value]) => value !== undefined)),
        inputs: Object.fromEntries(uploaded.filter(([, items]) => items.length)),
      };
    },
    state() {
      const changed = params.map((field) => [field.name, field.peek()]);
      return {
        params: Object.fromEntries(changed.filter(([name, value]) => value !== undefined && !same(value, initial(name)))),
        texts: Object.fromEntries(inputs.map((field) => [field.name, field.text()])),
      };
    },
    /** Takes earlier results as input `name`, beside what a list holds or `instead` of it. */
    use: (name, artifacts, instead = false) => inputs.find((field) => field.name === name)?.use(artifacts, instead),
  };

  function initial(name) {
    return params.find((field) => field.name === name).initial;
  }
}

/** Shows those fields of a form or a part of it whose condition holds, and the groups in which something shows. */
function showFitting(params, element) {
  const now = Object.fromEntries(params.map((field) => [field.name, field.peek()]));
  for (const { ui, element: row } of params) {
    const wanted = Object.entries(ui.visible_if ?? {});
    row.hidden = !wanted.every(([name, value]) => [value].flat().some((each) => meets(each, now[name])));
  }
  for (const group of element.querySelectorAll("fieldset")) group.hidden = !group.querySelector(":scope > .field:not([hidden])");
}

/** The rows of fields: first those without a group, then each group under its name. */
function grouped(fields) {
  const groups = new Map();
  for (const { ui } of fields) {
    if (ui.group && !groups.has(ui.group)) groups.set(ui.group, h("fieldset", {}, h("legend", {}, words(ui.group))));
  }
  for (const { ui, element } of fields) groups.get(ui.group)?.append(element);
  return [...fields.filter(({ ui }) => !ui.group).map(({ element }) => element), ...groups.values()];
}

/** The advanced fields, behind a line to open them; nothing if there are none. */
function folded(fields) {
  const rows = grouped(fields.filter(({ ui }) => ui.advanced));
  return rows.length ? [h("details", { className: "advanced" }, h("summary", {}, "Advanced"), ...rows)] : [];
}

/** Label, control, help and place for an error: the row of one field. */
function fieldRow(name, control, { labelled = control, label = words(name), note = "", help = "", check = false }) {
  const id = (labelled.id = `field-${++made}`);
  const error = h("p", { className: "error", id: `${id}-error`, hidden: true });
  labelled.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  const caption = h("label", { htmlFor: id }, label, note ? h("span", { className: "note" }, ` ${note}`) : "");
  const helpText = h("p", { className: "help", id: `${id}-help` }, help);
  const element = h("div", { className: check ? "field check" : "field" }, caption, control, helpText, error);
  element.dataset.field = name;
  const showError = (message) => {
    error.textContent = message;
    error.hidden = !message;
    labelled.setAttribute("aria-invalid", String(Boolean(message)));
  };
  return { element, showError };
}

function paramField(name, announced, root, call) {
  const schema = resolve(announced, root.$defs ?? {});
  const ui = schema.ui ?? {};
  const { box, focus = box, get, set } = control(schema, ui, call, root.$defs ?? {});
  const required = (root.required ?? []).includes(name);
  const note = [ui.unit && `in ${ui.unit}`, required && "required"].filter(Boolean).join(", ");
  const row = fieldRow(name, box, { labelled: focus, note, help: schema.description ?? "", check: box.type === "checkbox" });
  const peek = () => {
    try {
      return get();
    } catch {
      return undefined;
    }
  };
  const checked = () => {
    try {
      return get();
    } catch (error) {
      throw Object.assign(error, { field: name });
    }
  };
  return { name, ui, set, get: checked, peek, initial: schema.default, ...row };
}

/** A schema without references and with `nullable` instead of "or null". */
function resolve(schema, definitions) {
  const { $ref, anyOf, allOf, ...own } = schema;
  if ($ref) return { ...resolve(definitions[$ref.split("/").pop()], definitions), ...own };
  if (allOf?.length === 1) return { ...resolve(allOf[0], definitions), ...own };
  const some = (anyOf ?? []).map((each) => resolve(each, definitions));
  const real = some.filter((each) => each.type !== "null");
  if (real.length === 1) return { ...real[0], ...own, nullable: some.length > 1 };
  if ("const" in own) return { ...own, enum: [own.const] };
  return anyOf ? { ...own, type: "any" } : own;
}

/** The control for a schema: `box` to show, `focus` to label, `get` (undefined: not given) and `set`. */
function control(schema, ui, call, definitions) {
  const items = schema.items && resolve(schema.items, definitions);
  if (schema.type === "array" && items?.properties) return repeatedControl(items, schema.maxItems, call, definitions);
  const offered = schema.items?.enum ?? [];
  const several = offered.length ? offered.every((each) => typeof each === "string") : ui.choices_from;
  if (schema.type === "array" && several) return severalControl(offered, ui.choices_from, call);
  if (ui.choices_from) return choiceControl(ui.choices_from, schema, call);
  if (schema.enum) return selectControl(ui.choices ?? schema.enum, schema.nullable);
  if (schema.type === "boolean" && !schema.nullable) {
    const box = h("input", { type: "checkbox" });
    return { box, get: () => box.checked, set: (value) => (box.checked = value === true) };
  }
  if (["integer", "number"].includes(schema.type)) return numberControl(schema, ui);
  if (schema.type === "string") {
    const long = ui.widget === "textarea" || schema.default?.includes("\n"); // an input would lose the line break
    const box = long ? h("textarea", { rows: schema.maxLength <= 200 ? 1 : 3 }) : h("input", { type: "text", autocomplete: "off" });
    const empty = () => (schema.nullable ? null : "default" in schema ? "" : undefined);
    return { box, get: () => box.value || empty(), set: (value) => (box.value = value ?? "") };
  }
  const box = h("textarea", { rows: 2, className: "code", spellcheck: false });
  const get = () => {
    if (!box.value.trim()) return undefined;
    try {
      return JSON.parse(box.value);
    } catch {
      throw new Error('This has to be JSON, for example ["a", "b"], {"a": 1} or "text".');
    }
  };
  return { box, get, set: (value) => (box.value = value == null ? "" : JSON.stringify(value)) };
}

function selectControl(values, nullable) {
  const all = nullable && !values.includes(null) ? [null, ...values] : values;
  const box = h("select", {}, ...all.map((value, index) => h("option", { value: index }, String(value ?? "none"))));
  return {
    box,
    get: () => all[box.value],
    set: (value) => (box.value = Math.max(0, all.findIndex((each) => same(each, value)))),
  };
}

function choiceControl(list, schema, call) {
  const box = h("select");
  const add = (name) => [...box.options].some(({ value }) => value === name) || box.add(new Option(name || "none", name));
  offer(box, list, call, add);
  const set = (value) => {
    add(value ?? "");
    box.value = value ?? "";
  };
  return { box, get: () => box.value || (schema.nullable ? null : undefined), set };
}

/** Fills a select with the entries of a list, now and whenever it is told that they are others. */
function offer(select, list, call, add) {
  const read = async () => {
    const names = new Set();
    for (let offset = 0, total = 1; offset < total; offset += 1000) {
      const page = await call("choices", { list, offset, limit: 1000 });
      page.choices.forEach((name) => names.add(name));
      total = page.total;
    }
    for (const option of [...select.options]) {
      if (option.value && !option.selected && !names.has(option.value)) option.remove();
    }
    names.forEach(add);
    select.title = "";
  };
  const readOrSay = () => read().catch((error) => (select.title = error.message));
  select.dataset.list = list;
  select.addEventListener("renew", readOrSay);
  readOrSay();
}

/** Several of a list, in the order in which they were added: chips, and a select to add to them. */
function severalControl(offered, list, call) {
  const chips = h("ul", { className: "chips" });
  const select = h("select", {}, new Option("Add …", ""));
  const box = h("div", {}, chips, select);
  let chosen = [];
  offered.forEach((name) => select.add(new Option(name)));
  const add = (name) => [...select.options].some(({ value }) => value === name) || select.add(new Option(name));
  if (list) offer(select, list, call, add);
  const set = (value) => {
    chosen = value ?? [];
    chips.replaceChildren(...chosen.map((name, index) => {
      const remove = h("button", { type: "button", "aria-label": `Remove ${name}`, title: "Remove" }, "×");
      remove.addEventListener("click", () => change(chosen.filter((_, other) => other !== index)));
      return h("li", {}, h("span", {}, name), remove);
    }));
  };
  const change = (value) => {
    set(value);
    select.value = "";
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  select.addEventListener("input", (event) => {
    event.stopPropagation(); // `change` tells
    if (select.value) change(chosen.includes(select.value) ? chosen : [...chosen, select.value]);
  });
  return { box, focus: select, get: () => chosen, set };
}

/** A list of objects: a small form for each, to add and to remove. */
function repeatedControl(items, most = Infinity, call, definitions) {
  const list = h("ol", { className: "repeated" });
  const add = h("button", { type: "button" }, "Add");
  const box = h("div", {}, list, add);
  let entries = []; // the fields of each
  const tell = () => {
    add.disabled = entries.length >= most;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const append = (values) => {
    const fields = Object.entries(items.properties)
      .map(([name, schema]) => paramField(name, schema, { ...items, $defs: definitions }, call))
      .sort((a, b) => (a.ui.order ?? 1e9) - (b.ui.order ?? 1e9));
    const remove = h("button", { type: "button" }, "Remove");
    const element = h("li", {}, ...grouped(fields.filter(({ ui }) => !ui.advanced)), ...folded(fields), remove);
    for (const field of fields) {
      field.set(field.name in values ? values[field.name] : field.initial);
      delete field.element.dataset.field; // the form's own may have the same names
    }
    remove.addEventListener("click", () => {
      entries = entries.filter((each) => each !== fields);
      element.remove();
      tell();
    });
    element.addEventListener("input", () => showFitting(fields, element));
    showFitting(fields, element);
    entries.push(fields);
    list.append(element);
  };
  add.addEventListener("click", () => {
    append({});
    tell();
  });
  const set = (values) => {
    entries = [];
    list.replaceChildren();
    for (const each of values ?? []) append(each);
    add.disabled = entries.length >= most;
  };
  const given = (fields) => fields.filter(({ element }) => !element.hidden).map((field) => [field.name, field.get()]);
  const get = () =>
    entries.map((fields) => Object.fromEntries(given(fields).filter(([, value]) => value !== undefined)));
  return { box, focus: list, get, set };
}

function numberControl(schema, ui) {
  const { minimum: min = "", maximum: max = "", multipleOf } = schema;
  const step = ui.step ?? multipleOf ?? (schema.type === "integer" ? 1 : "any");
  const number = h("input", { type: "number", min, max, step, inputMode: min >= 0 && min !== "" ? "decimal" : "" });
  const get = () => {
    if (number.validity.badInput) throw new Error("This is not a number.");
    return number.value === "" ? (schema.nullable ? null : undefined) : Number(number.value);
  };
  let set = (value) => (number.value = value ?? "");
  if (ui.widget === "slider" && min !== "" && max !== "") {
    const slider = h("input", { type: "range", min, max, step, tabIndex: -1, "aria-hidden": "true" });
    slider.addEventListener("input", () => (number.value = slider.value));
    number.addEventListener("input", () => (slider.value = number.value));
    set = (value) => (slider.value = number.value = value ?? "");
    return { box: h("div", { className: "slider" }, slider, number), focus: number, get, set };
  }
  if (ui.widget === "seed") {
    const reset = h("button", { type: "button", title: "Back to a random seed" }, "Random");
    reset.addEventListener("click", () => {
      set(schema.default);
      number.dispatchEvent(new Event("input", { bubbles: true }));
    });
    return { box: h("div", { className: "row" }, number, reset), focus: number, get, set };
  }
  return { box: number, get, set };
}

/** An input: earlier results and uploaded files as chips, and a text to type where the kind allows it. */
function inputField(name, { kind, list, optional, help: about }, limits) {
  const typed = kind === "text" || kind === "json";
  const chips = h("ul", { className: "chips" });
  const box = typed
    ? h("textarea", { rows: 3, className: kind === "json" ? "code" : "" })
    : h("input", { type: "file", accept: ACCEPT[kind], multiple: true });
  const item = typed && list && h("button", { type: "button" }, "Add as an item");
  const note = [list ? `list of ${kind}` : kind, optional && "optional"].filter(Boolean).join(", ");
  const several = list ? "" : " Several run one after the other.";
  const how = typed ? "" : `Choose a file, or press Use at an earlier result.${several}`;
  const help = [about, how].filter(Boolean).join(" ");
  const row = fieldRow(name, h("div", {}, chips, box, item || ""), {
    labelled: box, note, help,
  });
  let items = []; // {artifact} or {uploading}

  function draw() {
    box.hidden = typed && !list && items.length > 0; // a text that was used instead of one that was typed
    chips.replaceChildren(
      ...items.map((each) => {
        const { artifact, label } = each;
        const remove = h("button", { type: "button", "aria-label": `Remove ${label}`, title: "Remove" }, "×");
        remove.addEventListener("click", () => {
          items = items.filter((other) => other !== each);
          draw();
        });
        const picture = artifact && fits(artifact.kind, "image") && h("img", { src: artifactUrl(artifact), alt: "" });
        return h("li", {}, picture || "", h("span", {}, artifact ? label : `${label} …`), remove);
      }),
    );
  }

  /** Sends a file or text to the server; the chip says so until it is there. */
  function send(body, label) {
    const each = { label };
    items.push(each);
    draw();
    each.done = upload(kind, body, label)
      .then((artifact) => (each.artifact = artifact))
      .catch((error) => {
        items = items.filter((other) => other !== each);
        row.showError(error.message);
      })
      .finally(draw);
  }

  box.addEventListener("change", () => {
    if (typed) return;
    row.showError("");
    for (const file of box.files) {
      if (file.size > limits.upload_bytes) row.showError(`${file.name} is over the limit of ${limits.upload_bytes} bytes.`);
      else send(file, file.name);
    }
    box.value = "";
  });
  if (item) {
    item.addEventListener("click", () => {
      if (box.value) send(box.value, box.value.slice(0, 40));
      box.value = "";
    });
  }
  return {
    name, optional, ...row,
    text: () => (typed ? box.value : ""),
    setText: (text) => typed && (box.value = text),
    use(artifacts, instead) {
      const fresh = artifacts.map((artifact) => ({ artifact, label: artifact.name ?? artifact.kind }));
      items = list && !instead ? [...items, ...fresh] : fresh;
      draw();
    },
    async get() {
      await Promise.all(items.map((each) => each.done));
      const ids = items.map(({ artifact }) => artifact.id);
      if (typed && !box.hidden && (box.value || (!items.length && !optional && kind === "text"))) {
        ids.push((await upload(kind, box.value)).id);
      }
      return ids;
    },
  };
}
