// Uses a stable-core server from JavaScript: submits jobs, follows them through broken connections, fetches results.
//
//     const client = new Client();
//     const [picture] = await client.run("txt2img", { prompt: "a red circle on a blue background" });
//     await picture.save("circle.png");
//     client.close();
//
// For Node, browsers and bundlers as it is; it needs socket.io-client. Names of the protocol keep their spelling.

import { io } from "socket.io-client";

const ARTIFACT_ID = /^[0-7][0-9a-hjkmnp-tv-z]{25}(\.\d+)?$/;
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];
const TERMINAL = ["done", "failed", "cancelled"];
const REFERENCE = ["job", "index", "review"]; // what an input may say of another job's outputs
const ANSWER_SECONDS = 30; // without an answer, a call is sent again
const SILENCE_SECONDS = 15; // without an event, a wait asks how its job is
const TICK_SECONDS = 0.5; // between two attempts
const ENVELOPE_BYTES = 1000; // more than what is around a message
const RESUMED_BYTES = 1_000_000; // a larger upload goes on where it was cut; a smaller one is quicker sent again
const TUS = { "Tus-Resumable": "1.0.0" };
const BYTES = "application/octet-stream";
const OFFSET_BYTES = "application/offset+octet-stream";
const PARTIAL_CONTENT = 206;
const LONGEST_TIMER_SECONDS = 2_000_000; // a longer one ends at once
/** @type {Record<string, string>} */
const SUFFIXES = { image: ".png", mask: ".png", text: ".txt", json: ".json", audio: ".wav", video: ".mp4" };

/** @typedef {"held" | "waiting" | "queued" | "running" | "done" | "failed" | "cancelled"} State */
/** @typedef {{ code: string, message: string, field?: string | null, hint?: string | null, job?: string | null,
 *   errors?: { field: string, message: string }[] | null }} ErrorBody */
/** What the server knows of a job. @typedef {{ id: string, name: string, state: State, session?: string,
 *   attempt?: number, outputs?: string[], error?: ErrorBody | null, [more: string]: any }} JobRecord */
/** What the server keeps about an artifact. @typedef {{ id: string, kind: string, mime: string, size_bytes: number,
 *   name?: string | null, job?: string | null, facts?: Record<string, any>, [more: string]: any }} ArtifactRecord */
/** @typedef {{ id: string, step: number, total: number, phase: string, eta_seconds?: number | null,
 *   [more: string]: any }} Progress */
/** `image`: the bytes of a JPEG. @typedef {{ id: string, width: number, height: number, image: Uint8Array }} Preview */
/** What happens to a job: a new state, a result, progress, a preview, a line of its log.
 * @typedef {{ type: "job", data: JobRecord } | { type: "artifact", data: ArtifactRecord }
 *   | { type: "progress", data: Progress } | { type: "preview", data: Preview }
 *   | { type: "log", data: { id: string, text: string } }} JobEvent */
/** Any event of the protocol. @typedef {{ type: string, data: Record<string, any> }} ServerEvent */
/** @typedef {{ name: string, help: string, inputs: Record<string, any>, output: any, params: Record<string, any>,
 *   [more: string]: any }} Announcement */
/** @typedef {{ name: string, status: string, jobs: Announcement[], [more: string]: any }} PluginRecord */
/** What a submit would make. @typedef {{ params: Record<string, any>, count: number | null,
 *   eta_seconds?: number | null, [more: string]: any }} Plan */
/** `needs`: the other inputs that have to be given. @typedef {{ kind: string, list: boolean, optional: boolean,
 *   help?: string, converter?: string, needs: string[] }} AcceptingPort */
/** @typedef {{ kind: string, jobs: { job: string, light: boolean, inputs: Record<string, AcceptingPort> }[],
 *   others: { job: string, reason: string }[] }} Accepts */
/** @typedef {{ format?: "jpeg" | "webp", quality?: number }} Conversion */
/** Ends the waiting, not the job. @typedef {{ signal?: AbortSignal }} Abortable */
/** @typedef {{ onProgress?: (progress: Progress) => void, onPreview?: (jpeg: Uint8Array) => void }
 *   & Abortable} WaitOptions */
/** @typedef {{ priority?: "interactive" | "normal" | "batch", session?: string, hold?: boolean, fresh?: boolean,
 *   embed_metadata?: "full" | "minimal" | "none", client_ref?: string }} SubmitOptions */
/** One job of a flow. @typedef {{ job: string, id?: string, params?: Record<string, any>,
 *   inputs?: Record<string, any> } & SubmitOptions} FlowJob */
/** What can be uploaded: a text, bytes, in Node the file at a file: URL; other plain values as JSON.
 * @typedef {string | Blob | ArrayBuffer | ArrayBufferView | URL | object | number | boolean | null} Uploadable */

/** What went wrong, as the server tells it: branch on the class or on `code`; `message` and `hint` are for people.
 *
 * `field` is the first bad field, `errors` lists all of them, `job` is the job's id. */
export class ServerError extends Error {
  static code = "error";

  /** @param {string} message @param {Partial<ErrorBody>} [details] */
  constructor(message, { code, field, hint, job, errors } = {}) {
    super(message);
    const kind = /** @type {typeof ServerError} */ (new.target);
    this.name = kind === ServerError ? "ServerError" : classOf(kind.code); // bundlers shorten the class's own name
    this.code = code ?? kind.code;
    this.field = field ?? null;
    this.hint = hint ?? null;
    this.job = job ?? null;
    this.errors = errors ?? [];
  }

  /** @param {ErrorBody} body @returns {ServerError} */
  static fromWire(body) {
    const Kind = KINDS.find((each) => each.code === body.code) ?? ServerError;
    return new Kind(body.message, body);
  }
}

export class InvalidParams extends ServerError { static code = "invalid_params"; }
export class UnknownJob extends ServerError { static code = "unknown_job"; }
export class UnknownArtifact extends ServerError { static code = "unknown_artifact"; }
export class TypeMismatch extends ServerError { static code = "type_mismatch"; }
export class BadImage extends ServerError { static code = "bad_image"; }
export class TooLarge extends ServerError { static code = "too_large"; }
export class ModelNotFound extends ServerError { static code = "model_not_found"; }
export class DependencyFailed extends ServerError { static code = "dependency_failed"; }
export class QueueFull extends ServerError { static code = "queue_full"; }
export class Unauthorized extends ServerError { static code = "unauthorized"; }
export class Forbidden extends ServerError { static code = "forbidden"; }
export class NotFound extends ServerError { static code = "not_found"; }
export class Conflict extends ServerError { static code = "conflict"; }
export class PluginError extends ServerError { static code = "plugin_error"; }
export class OutOfMemory extends ServerError { static code = "out_of_memory"; }
export class WorkerDied extends ServerError { static code = "worker_died"; }
export class Timeout extends ServerError { static code = "timeout"; }
export class Cancelled extends ServerError { static code = "cancelled"; }
export class Internal extends ServerError { static code = "internal"; }

/** No server answers: the one error here that no server sends. */
export class Unreachable extends ServerError { static code = "unreachable"; }

const KINDS = [
  InvalidParams, UnknownJob, UnknownArtifact, TypeMismatch, BadImage, TooLarge, ModelNotFound, DependencyFailed,
  QueueFull, Unauthorized, Forbidden, NotFound, Conflict, PluginError, OutOfMemory, WorkerDied, Timeout, Cancelled,
  Internal, Unreachable,
];

/** A result or an upload. Give it to another job as an input, or fetch its content. */
export class Artifact {
  #client;
  /** @type {ArtifactRecord | undefined} */
  #record;

  /** @param {Client} client @param {string} id @param {ArtifactRecord} [record] */
  constructor(client, id, record) {
    this.#client = client;
    this.#record = record;
    this.id = id;
  }

  /** What the server keeps about it: kind, mime, size_bytes, name, job, session, facts (seed, width ...).
   * Outputs of a job that was waited for and uploads have it, others after `await load()`. */
  get record() {
    if (!this.#record) throw new Error(`the record of ${this.id} is not here yet: await its load() first.`);
    return this.#record;
  }

  get kind() {
    return this.record.kind;
  }

  /** Where its bytes are: for `<img src>` and links in pages of the server's own address. */
  get url() {
    return `${this.#client.url}/artifacts/${this.id}`;
  }

  /** The record, asked for if it is not here yet. @returns {Promise<ArtifactRecord>} */
  async load() {
    return (this.#record ??= (await this.#client.call("artifact", { id: this.id })).artifact);
  }

  /** An address that opens without the token, in any browser, for so long; others' artifacts it does not open. Needs
   * the token, which a page that relies on its cookie does not know.
   * @param {number} [seconds] @returns {Promise<string>} */
  async link(seconds = 3600) {
    const expires = Math.trunc(Date.now() / 1000 + seconds);
    return `${this.url}?expires=${expires}&signature=${await this.#client._sign(`artifact ${this.id} ${expires}`)}`;
  }

  /** The file's content: PNG for an image of a job, what was uploaded for an upload. A picture can also be had in
   * another `format`, in a `quality` from 1 to 100. @param {Conversion} [options] @returns {Promise<Uint8Array>} */
  async bytes(options) {
    return (await this.#fetch(options)).bytes;
  }

  /** @returns {Promise<string>} */
  async text() {
    return new TextDecoder().decode(await this.bytes());
  }

  /** The content with its type: for `createImageBitmap`, `URL.createObjectURL` and forms.
   * @param {Conversion} [options] @returns {Promise<Blob>} */
  async blob(options) {
    const { bytes, type } = await this.#fetch(options);
    return new Blob([bytes], { type });
  }

  /** In Node, write the file `path`, or one named after the artifact in the folder `path`, with its id if another is
   * called the same; gives where it is. In a page, the browser downloads it as `path`, or under its own name.
   * @param {string} [path] @returns {Promise<string>} */
  async save(path = "") {
    const { name, kind, job } = await this.load();
    const [called, suffix] = [plainName(name ?? ""), SUFFIXES[kind] ?? ""];
    const own = called && !job ? called : `${called || this.id}${suffix}`; // an upload's name has its suffix
    const fs = builtin("node:fs");
    if (!fs) return hand(await this.blob(), plainName(path) || own);
    const paths = /** @type {typeof import("node:path")} */ (builtin("node:path"));
    const isFolder = !path || fs.statSync(path, { throwIfNoEntry: false })?.isDirectory();
    const bytes = await this.bytes();
    let target = isFolder ? paths.join(path, own) : path; // a name from elsewhere must not lead out of the folder
    if (isFolder && fs.existsSync(target) && !(await fs.promises.readFile(target)).equals(bytes)) {
      const { name: stem, ext } = paths.parse(own); // another is called the same
      target = paths.join(path, `${stem} ${this.id}${ext}`);
    }
    const part = paths.join(paths.dirname(target), `.${paths.basename(target)}.${randomName().slice(0, 8)}.part`);
    await fs.promises.writeFile(part, bytes);
    await fs.promises.rename(part, target);
    return target;
  }

  /** @param {Conversion} [options] */
  #fetch({ format, quality } = {}) {
    const converted = quality ? `?format=${format}&quality=${quality}` : `?format=${format}`;
    return this.#client._fetch(`/artifacts/${this.id}${format ? converted : ""}`);
  }
}

/** A submitted job. Its `state` and `record` follow the server's while the client is open. */
export class Job {
  #client;
  /** @type {Set<(event: JobEvent | ServerError) => void>} */
  #listeners = new Set();
  /** @type {Map<string, ArtifactRecord>} */
  #artifacts = new Map();

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
    this.record = /** @type {JobRecord} */ ({});
  }

  get id() {
    return this.record.id;
  }

  get state() {
    return this.record.state;
  }

  /** Why it failed or was cancelled. */
  get error() {
    return this.record.error ? ServerError.fromWire(this.record.error) : null;
  }

  /** The results in order; while it runs, those that are there already. Of a job that a list told of, known after
   * `await wait()` or `refresh()`. */
  get outputs() {
    if (this.#isOver && !this.record.outputs) {
      throw new Error(`the outputs of ${this.id} are not here yet: await its wait() or refresh() first.`);
    }
    const ids = this.#isOver ? (this.record.outputs ?? []) : [...this.#artifacts.keys()];
    return ids.map((id) => new Artifact(this.#client, id, this.#artifacts.get(id)));
  }

  get #isOver() {
    return TERMINAL.includes(this.state);
  }

  /** What happens to this job, beginning with its present state and ending with its last.
   *
   * Goes on through broken connections and restarts of the server; throws the signal's reason when that aborts.
   * @param {Abortable} [options] @returns {AsyncGenerator<JobEvent, void, void>} */
  async *events({ signal } = {}) {
    /** @type {(JobEvent | ServerError)[]} */
    const inbox = [...this.#artifacts.values()].map((data) => ({ type: "artifact", data }));
    inbox.splice(this.#isOver ? inbox.length : 0, 0, { type: "job", data: { ...this.record } });
    let wake = () => {};
    /** @param {JobEvent | ServerError} event */
    const listener = (event) => {
      inbox.push(event);
      wake();
    };
    this.#listeners.add(listener);
    try {
      for (;;) {
        signal?.throwIfAborted();
        const event = inbox.shift() ?? this.#client._fatal;
        if (event instanceof ServerError) throw event;
        if (event) {
          yield event;
          if (event.type === "job" && TERMINAL.includes(event.data.state)) return;
          continue;
        }
        /** @type {Promise<boolean>} */
        const woken = new Promise((resolve) => (wake = () => resolve(true)));
        // The timer in this is also what keeps the job where nothing else in the program refers to it any more.
        if (!(await within(woken, SILENCE_SECONDS, signal))) this._reconcile(); // the inbox gets what it learns
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** The outputs, once it is done; throws what made it fail, Cancelled, or the signal's reason: then the job goes on.
   *
   * `onProgress` gets {step, total, phase}, `onPreview` the bytes of a JPEG.
   * @param {WaitOptions} [options] @returns {Promise<Artifact[]>} */
  async wait({ onProgress, onPreview, signal } = {}) {
    for await (const event of this.events({ signal })) {
      if (event.type === "progress") onProgress?.(event.data);
      else if (event.type === "preview") onPreview?.(event.data.image);
    }
    if (!this.record.outputs && this.state === "done") await this.refresh();
    if (this.state !== "done") throw this.error ?? new Internal(`job ${this.id} is ${this.state} without a reason.`);
    return this.outputs;
  }

  /** Stop it; no error if it is cancelled already. With `keep_partial`, the outputs so far stay.
   * @param {{ keep_partial?: boolean }} [options] */
  async cancel({ keep_partial = false } = {}) {
    try {
      await this.#client.call("cancel", { id: this.id, keep_partial });
    } catch (error) {
      if (!(error instanceof Conflict) || (await this.refresh()).state !== "cancelled") throw error;
    }
  }

  /** Leave the rest of the picture that it is at, and go on with the next. Throws Conflict if it does not run. */
  async skip() {
    await this.#client.call("skip", { id: this.id }, { repeat: false });
  }

  /** The same again, as a new job; with `params` and `inputs` over those that it had. With `extend`, a program keeps
   * those of its jobs that are done and still wanted; one that has not ended goes on as the same job.
   * @param {Record<string, any>} [params] @param {Record<string, any>} [inputs] @param {{extend?: boolean}} [options]
   * @returns {Promise<Job>} */
  async retry(params = {}, inputs = {}, { extend = false } = {}) {
    const changed = { params, inputs: await this.#client._inputs(this.record.name, inputs), ...(extend && { extend }) };
    const client_ref = randomName();
    const job = this.#client._remember(client_ref, new Job(this.#client)); // its first event may come before the answer
    return this.#client._attach((await this.#client.call("retry", { id: this.id, client_ref, ...changed })).job, job);
  }

  /** Ask the server how it is now. @returns {Promise<this>} */
  async refresh() {
    this._learn((await this.#client.call("job", { id: this.id })).job);
    return this;
  }

  /** Catch up on what events did not tell. A job that the server does not know any more has failed. */
  async _reconcile() {
    try {
      if (this.#client.online && this.id) await this.refresh();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (!(error instanceof Unreachable)) this._tell(error); // then asked again when the connection is back
    }
  }

  /** @param {JobEvent} event */
  _receive(event) {
    if (event.type === "job") return this._learn(event.data);
    if (event.type === "artifact") this.#artifacts.set(event.data.id, event.data);
    this._tell(event);
  }

  /** Take over a record. Not the `newest`, or after the end: what events have told meanwhile counts more.
   * @param {JobRecord} record */
  _learn(record, newest = true) {
    const known = this.state;
    const counts = newest && !TERMINAL.includes(known);
    this.record = counts ? { ...this.record, ...record } : { ...record, ...this.record };
    if (this.state !== known) this._tell({ type: "job", data: { ...this.record } });
  }

  /** @param {JobEvent | ServerError} event */
  _tell(event) {
    for (const listener of this.#listeners) listener(event);
  }
}

/** A connection to a server, made now and again whenever it breaks. `close()` it at the end. */
export class Client {
  #token;
  #socket;
  #stop = new AbortController();
  /** @type {import("socket.io-client").Manager["engine"] | undefined} what the connection that stands goes through */
  #engine;
  #online = gate();
  /** @type {number | undefined} of the newest event heard: where a replay begins */
  #seq;
  /** @type {number[]} of the events heard while a connection catches up */
  #replayed = [];
  /** @type {Map<string, WeakRef<Job>>} by id and client_ref */
  #jobs = new Map();
  #forgotten = new FinalizationRegistry((/** @type {string} */ key) => {
    if (!this.#jobs.get(key)?.deref()) this.#jobs.delete(key);
  });
  /** @type {Set<(event: ServerEvent) => void>} */
  #listeners = new Set();
  /** @type {Promise<PluginRecord[]> | undefined} */
  #plugins;

  /** `url` may hold ?token=, as the server prints it. In a page it is the page's own address, in Node
   * STABLE_CORE_URL, else http://127.0.0.1:7777. In a page of the server the cookie serves as `token`; in Node it is
   * STABLE_CORE_TOKEN or found in this user's settings where the server is on this machine. `session` is the one that
   * jobs and uploads go to. A call waits `patience` seconds for a lost server before it throws Unreachable; a job's
   * `wait` and `events` wait for as long as it takes.
   * @param {{ url?: string | URL, token?: string, session?: string, patience?: number }} [options] */
  constructor({ url, token, session = "default", patience = 60 } = {}) {
    const parts = new URL(url ?? environment("STABLE_CORE_URL") ?? pageOrigin() ?? "http://127.0.0.1:7777");
    this.url = parts.origin;
    this.session = session;
    this.patience = patience;
    /** @type {Record<string, number>} what the server takes, known once it is connected */
    this.limits = {};
    /** @type {ServerError | undefined} */
    this._fatal = undefined;
    this.#token = token || findToken(parts);
    this.#socket = io(this.url, {
      auth: this.#token ? { token: this.#token } : {},
      forceNew: true, // another client of this server may have another token
      transports: ["websocket"],
      timeout: 10_000,
      reconnection: false, // not before it has been there
      reconnectionDelay: 100,
      reconnectionDelayMax: 2000,
    });
    this.#socket.on("connect", () => this.#greet());
    this.#socket.on("connect_error", (error) => this.#refused(/** @type {any} */ (error).data));
    this.#socket.on("disconnect", (reason) => this.#lost(reason));
    this.#socket.onAny((type, data) => this.#received(type, data));
  }

  /** Whether the connection stands just now. */
  get online() {
    return this.#engine !== undefined && !this._fatal;
  }

  /** This client, connected; calls do not need it. Throws what stands against it, such as Unreachable, Unauthorized. */
  async connect() {
    await this.#online.open;
    if (this._fatal) throw this._fatal;
    return this;
  }

  /** Leave. Jobs go on without us; waits for them throw Unreachable. */
  close() {
    this.#end(new Unreachable("the client was closed."));
  }

  /** The plugins with the jobs they announce: their inputs, output, and parameters as a JSON Schema.
   * @param {Abortable} [options] @returns {Promise<PluginRecord[]>} */
  async plugins({ signal } = {}) {
    const asked = (this.#plugins ??= this.call("plugins").then((answer) => answer.plugins));
    let complete = false;
    try {
      const plugins = await within(asked, Infinity, signal);
      complete = plugins.every((/** @type {PluginRecord} */ each) => each.status !== "installing");
      return plugins;
    } finally {
      if (!complete && this.#plugins === asked) this.#plugins = undefined;
    }
  }

  /** The announcement of `plugin.job` or `job`; null if there is none or it is not the only one.
   *
   * A server that has just started may be loading it still: with `wait`, it gets `patience` seconds.
   * @param {string} job @param {{ wait?: boolean } & Abortable} [options] @returns {Promise<Announcement | null>} */
  async describe(job, { wait = true, signal } = {}) {
    const deadline = now() + (wait ? this.patience : 0);
    for (;;) {
      const plugins = await this.plugins({ signal });
      const announced = [];
      for (const plugin of plugins) {
        for (const about of plugin.jobs) {
          const name = `${plugin.name}.${about.name}`;
          if ([name, about.name].includes(job)) announced.push({ ...about, name });
        }
      }
      const loading = plugins.some((plugin) => plugin.status === "installing");
      if (announced.length || !loading || now() > deadline) return announced.length === 1 ? announced[0] : null;
      await pause(signal);
    }
  }

  /** All entries of a list that a parameter's `choices_from` names.
   * @param {string} list @param {string} [search] @returns {Promise<string[]>} */
  async choices(list, search = "") {
    const found = [];
    for (;;) {
      const { choices, total } = await this.call("choices", { list, search, offset: found.length, limit: 1000 });
      found.push(...choices);
      if (!choices.length || found.length >= total) return found;
    }
  }

  /** Put a job into the queue. Once this returns, it is not lost, whatever crashes.
   *
   * An input is an Artifact or its id, a Job (its outputs), {job: id, index: k}, or something to upload: a File, a
   * Blob, bytes, a text, in Node a file: URL, or a file name where the job takes no text; or a list of these. `fresh`
   * runs it even if the results of an equal job are there.
   * @param {string} job @param {Record<string, any>} [params] @param {Record<string, any>} [inputs]
   * @param {SubmitOptions & Abortable} [options] @returns {Promise<Job>} */
  async submit(job, params, inputs, { signal, ...options } = {}) {
    return (await this.#submit("submit", [{ job, params, inputs, ...options }], signal))[0];
  }

  /** Submit several jobs as one: all or none. Each is an object of `submit`'s arguments.
   *
   * With an `id`, later ones can use its outputs: {job: "upscale", inputs: {image: {job: "first"}}}.
   * @param {Iterable<FlowJob>} jobs @param {Abortable} [options] @returns {Promise<Job[]>} */
  async flow(jobs, { signal } = {}) {
    return this.#submit("flow", [...jobs], signal);
  }

  /** What a submit would make, without making it: params as they would be used, count, outputs, eta_seconds.
   * @param {string} job @param {Record<string, any>} [params] @param {Record<string, any>} [inputs]
   * @param {Abortable} [options] @returns {Promise<Plan>} */
  async plan(job, params, inputs, { signal } = {}) {
    return (await this.#light("plan", job, params, inputs, signal)).plan;
  }

  /** Which jobs take a result or an upload, at which inputs, as it is or through a converter that the server puts in
   * between; and why the others do not.
   * @param {string | Artifact} artifact @param {Abortable} [options] @returns {Promise<Accepts>} */
  async accepts(artifact, { signal } = {}) {
    const id = typeof artifact === "string" ? artifact : artifact.id;
    return /** @type {any} */ (await this.call("accepts", { id }, { signal }));
  }

  /** What a light job returns, at once and without the queue: texts and JSON values.
   * @param {string} job @param {Record<string, any>} [params] @param {Record<string, any>} [inputs]
   * @param {Abortable} [options] @returns {Promise<any[]>} */
  async light(job, params, inputs, { signal } = {}) {
    return (await this.#light("call", job, params, inputs, signal)).outputs;
  }

  /** Submit, wait, and return the outputs. `values` are parameters and inputs together, told apart by name.
   * `fresh` runs the job even if the results of an equal one are there.
   * @param {string} job @param {Record<string, any>} [values] @param {{ fresh?: boolean } & WaitOptions} [options]
   * @returns {Promise<Artifact[]>} */
  async run(job, values = {}, { fresh = false, ...waiting } = {}) {
    const ports = (await this.describe(job, waiting))?.inputs ?? {};
    const named = Object.entries(values);
    const inputs = Object.fromEntries(named.filter(([name]) => Object.hasOwn(ports, name)));
    const params = Object.fromEntries(named.filter(([name]) => !Object.hasOwn(ports, name)));
    const submitted = await this.submit(job, params, inputs, { fresh, signal: waiting.signal });
    return submitted.wait(waiting);
  }

  /** Store a text, bytes, a File, a Blob, in Node the file at a file: URL, or another plain value as JSON. `kind`
   * (image, text ...) is guessed if not given. `source` is the artifact that it was made from, where the file itself
   * does not say so.
   * @param {Uploadable} value
   * @param {{ kind?: string, name?: string, source?: string | Artifact } & Abortable} [options]
   * @returns {Promise<Artifact>} */
  async upload(value, { kind, name, source, signal } = {}) {
    const blob = await toBlob(value);
    await within(this.connect(), this.patience, signal);
    if (blob.size > this.limits.upload_bytes) {
      const [size, limit] = [count(blob.size), count(this.limits.upload_bytes)];
      throw new TooLarge(`${size} bytes are over the server's limit of ${limit}.`);
    }
    const from = source instanceof Artifact ? source.id : source;
    const about = defined({ kind, name: name ?? fileName(value), session: this.session, source: from });
    if (blob.size > RESUMED_BYTES) {
      const id = await this.#send(blob, about, signal);
      return new Artifact(this, id, (await this.call("artifact", { id }, { signal })).artifact);
    }
    const path = `/artifacts?${new URLSearchParams(/** @type {Record<string, string>} */ (about))}`;
    const { bytes } = await this.#http("PUT", path, { body: blob, headers: { "Content-Type": BYTES } }, signal);
    const { artifact } = JSON.parse(new TextDecoder().decode(bytes));
    return new Artifact(this, artifact.id, artifact);
  }

  /** Save an artifact: see Artifact.save.
   * @param {string | Artifact} artifact @param {string} [path] @returns {Promise<string>} */
  async download(artifact, path) {
    return (typeof artifact === "string" ? new Artifact(this, artifact) : artifact).save(path);
  }

  /** @param {string | Job} job @param {{ keep_partial?: boolean }} [options] */
  async cancel(job, options) {
    await (typeof job === "string" ? await this.job(job) : job).cancel(options);
  }

  /** @param {string | Job} job */
  async skip(job) {
    await (typeof job === "string" ? await this.job(job) : job).skip();
  }

  /** A job that was submitted before, by anyone with our token; follow it like one's own.
   * @param {string} id @returns {Promise<Job>} */
  async job(id) {
    const job = this.#jobs.get(id)?.deref() ?? this._remember(id, new Job(this)); // what happens meanwhile counts, too
    return this._attach((await this.call("job", { id })).job, job);
  }

  /** The newest first; with `order` "queue" the unfinished ones as they run, 1,000 at most.
   * @param {{ state?: State, session?: string, limit?: number, order?: "newest" | "queue" }} [options]
   * @returns {Promise<Job[]>} */
  async jobs({ limit = 50, ...wanted } = {}) {
    return (await this.#listed("jobs", limit, wanted)).map((record) => this._attach(record));
  }

  /** A result or an upload of anyone with our token, by its id or its record. Asks nothing of the server.
   * @param {string | ArtifactRecord} artifact @returns {Artifact} */
  artifact(artifact) {
    return typeof artifact === "string" ? new Artifact(this, artifact) : new Artifact(this, artifact.id, artifact);
  }

  /** The newest first. `search` finds those that have all its words in their name, prompt or infotext.
   * @param {{ job?: string, session?: string, limit?: number, kind?: string, review?: string, search?: string,
   *   origin?: "job" | "first" | "upload" }} [options]
   * @returns {Promise<Artifact[]>} */
  async artifacts({ limit = 50, ...wanted } = {}) {
    return (await this.#listed("artifacts", limit, wanted)).map((record) => this.artifact(record));
  }

  /** {paused, queued, workers} after the `action`.
   * @param {"status" | "pause" | "resume"} [action] @returns {Promise<Record<string, any>>} */
  async queue(action = "status") {
    return this.call("queue", { action });
  }

  /** The model files of the server, by kind: [{kind, files, fetchable}].
   * @returns {Promise<Record<string, any>[]>} */
  async models() {
    return (await this.call("models")).kinds;
  }

  /** Have a model fetched that a plugin names, under the licence that `models` tells; or go on with it. The event fetching
   * tells how far it is.
   * @param {string} id @param {string | null} [licence] @param {string} [plugin] @returns {Promise<Record<string, any>>} */
  async fetchModel(id, licence = null, plugin) {
    return (await this.call("fetch_model", { id, licence, plugin })).fetch;
  }

  /** The admin's own defaults and bounds beside those that plugins declare, and the settings of plugins.
   * @returns {Promise<Record<string, any>>} */
  async settings() {
    return this.call("settings");
  }

  /** Change them, in the server's config.toml and at once: {"plugin.job": {steps: {default: 30}}}. null gives back what
   * the plugin declares.
   * @param {{ overrides?: Record<string, any>, plugin_settings?: Record<string, any> }} changes
   * @returns {Promise<Record<string, any>>} */
  async configure(changes) {
    return this.call("configure", changes);
  }

  /** The newest lines that our jobs, or one, have written, the newest last; a line without `job` is about a plugin.
   * @param {{ job?: string, limit?: number }} [options]
   * @returns {Promise<{ time: number, job?: string, name: string, text: string }[]>} */
  async logs(options = {}) {
    return (await this.call("logs", options)).lines;
  }

  /** The server's OpenAPI document: what there is under plain HTTP, and the parameters of all announced jobs.
   * @returns {Promise<Record<string, any>>} */
  async document() {
    const { bytes } = await this.#http("GET", "/api/v1/openapi.json", { headers: {} });
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  /** The answer to any event of the protocol; throws the error that it names.
   *
   * If the connection breaks before the answer, it is sent again once there is a new one, unless `repeat` is false:
   * then nobody knows whether it was heard, and Unreachable says so.
   * @param {string} event @param {Record<string, any>} [data] @param {{ repeat?: boolean } & Abortable} [options]
   * @returns {Promise<Record<string, any>>} */
  async call(event, data = {}, { repeat = true, signal } = {}) {
    const text = JSON.stringify(data);
    const size = new TextEncoder().encode(text).length + ENVELOPE_BYTES;
    const deadline = now() + this.patience;
    for (;;) {
      await within(this.#online.open, deadline - now(), signal);
      if (this._fatal) throw this._fatal;
      if (size > this.limits.message_bytes) {
        const limit = count(this.limits.message_bytes);
        throw new TooLarge(`${event}: a message of ${count(size)} bytes is over the server's limit of ${limit}.`);
      }
      const answer = this.online && (await within(this.#ask(event, JSON.parse(text)), Infinity, signal));
      if (answer?.ok) return answer;
      if (answer) throw ServerError.fromWire(answer.error);
      if (this._fatal) throw this._fatal;
      if (!repeat || now() > deadline) {
        throw new Unreachable(`the connection to ${this.url} broke before ${event} was answered.`);
      }
    }
  }

  /** Call `listener({type, data})` for each event from now on, in order, also where no job of ours is concerned: job,
   * artifact, session, queue, plugins, package, models, fetching, progress, preview, log, as the protocol describes them, and resync, when
   * some were missed while there was no connection. Of the connection itself: lost; connected, after the events that it
   * had `missed` (so many) and was told now, with `resync` where not all are kept; and refused, with the error, after
   * which nothing comes. Call what is returned to hear no more.
   * @param {(event: ServerEvent) => void} listener @returns {() => void} */
  onEvent(listener) {
    const own = (/** @type {ServerEvent} */ event) => listener(event); // the same one may be given twice
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Every request has a reference of its own: sent again after a lost answer, it gives the same job.
   * @param {"submit" | "flow"} event @param {FlowJob[]} requests @param {AbortSignal} [signal]
   * @returns {Promise<Job[]>} */
  async #submit(event, requests, signal) {
    const jobs = requests.map(() => new Job(this));
    const messages = [];
    for (const [at, request] of requests.entries()) {
      const message = { session: this.session, client_ref: randomName(), ...defined(request) };
      const inputs = await this._inputs(request.job, request.inputs, signal);
      messages.push({ ...message, params: request.params ?? {}, inputs });
      this._remember(message.client_ref, jobs[at]); // its first event may come before the answer
    }
    const deadline = now() + this.patience;
    for (;;) {
      try {
        const answer = await this.call(event, event === "submit" ? messages[0] : { jobs: messages }, { signal });
        /** @type {JobRecord[]} */
        const records = event === "submit" ? [answer.job] : answer.jobs;
        return records.map((record, at) => this._attach(record, jobs[at]));
      } catch (error) {
        if (!(error instanceof UnknownJob) || now() > deadline) throw error; // was the server started anew meanwhile?
        for (const { job } of messages) if (!(await this.describe(job, { signal }))) throw error;
        await pause(signal);
      }
    }
  }

  /** @param {string} event @param {string} job @param {Record<string, any>} [params]
   * @param {Record<string, any>} [inputs] @param {AbortSignal} [signal] */
  async #light(event, job, params = {}, inputs, signal) {
    return this.call(event, { job, params, inputs: await this._inputs(job, inputs, signal) }, { signal });
  }

  /** A job's inputs as they are sent: what is no artifact yet is uploaded.
   * @param {string} job @param {Record<string, any> | undefined} inputs @param {AbortSignal} [signal] */
  async _inputs(job, inputs, signal) {
    const given = Object.entries(defined(inputs ?? {}));
    const about = given.length ? await this.describe(job, { signal }) : null; // unknown: the server says what is known
    /** @type {Record<string, any>} */
    const sent = {};
    for (const [name, value] of given) {
      const port = about && Object.hasOwn(about.inputs, name) ? about.inputs[name] : null;
      sent[name] = await this.#input(value, port, signal);
    }
    return sent;
  }

  /** @param {any} value @param {{ kind: string } | null} port @param {AbortSignal} [signal] @returns {Promise<any>} */
  async #input(value, port, signal) {
    if (Array.isArray(value)) return Promise.all(value.map((each) => this.#input(each, port, signal)));
    if (value instanceof Artifact) return value.id;
    if (value instanceof Job) return { job: value.id };
    if (value === null || !port || isReference(value)) return value;
    if (typeof value === "string" && ARTIFACT_ID.test(value)) return value;
    const isPath = typeof value === "string" && !["text", "json"].includes(port.kind);
    return (await this.upload(isPath ? fileAt(value) : value, { kind: port.kind, signal })).id;
  }

  /** The one Job object of a record; events find it from now on.
   * @param {JobRecord} record @param {Job} [job] @returns {Job} */
  _attach(record, job) {
    const known = this.#jobs.get(record.id)?.deref() ?? this._remember(record.id, job ?? new Job(this));
    known._learn(record, false);
    return known;
  }

  /** Let events find the job as long as somebody else refers to it. @param {string} key @param {Job} job */
  _remember(key, job) {
    this.#jobs.set(key, new WeakRef(job));
    this.#forgotten.register(job, key);
    return job;
  }

  /** What only who has the token can write below a message, as 64 hex digits. @param {string} message */
  async _sign(message) {
    if (!this.#token) throw new Error("a page that relies on its cookie cannot sign links: give the Client its token.");
    const [secret, data] = [this.#token, message].map((text) => new TextEncoder().encode(text));
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    return hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, data)));
  }

  /** @param {string} event @param {number} limit @param {Record<string, any>} wanted @returns {Promise<any[]>} */
  async #listed(event, limit, wanted) {
    /** @type {any[]} */
    const found = [];
    while (found.length < limit) {
      const place = { before: found.at(-1)?.id, limit: Math.min(1000, limit - found.length) };
      /** @type {any[]} */
      const page = (await this.call(event, { ...wanted, ...place }))[event];
      if (!page.length) break;
      found.push(...page);
      if (wanted.order === "queue") break; // which moves, so it has no pages
    }
    return found;
  }

  /** A request over HTTP, sent again while the server is away; throws what the server answers as an error.
   * @param {string} method @param {string} path @param {{ headers: Record<string, string>, body?: Blob }} options
   * @param {AbortSignal} [signal] */
  async #http(method, path, options, signal) {
    const deadline = now() + this.patience;
    for (;;) {
      try {
        const answer = await this.#request(method, path, options, signal);
        return { bytes: new Uint8Array(await answer.arrayBuffer()), headers: answer.headers };
      } catch (error) {
        await this.#pause(error, deadline, `${method} ${path}`, signal);
      }
    }
  }

  /** One attempt. @param {string} method @param {string} path @param {{ headers: Record<string, string>, body?: Blob }}
   * options @param {AbortSignal} [signal] */
  async #request(method, path, { headers, body }, signal) {
    const all = new Headers(headers);
    if (this.#token) all.set("Authorization", `Bearer ${this.#token}`);
    const stop = signal ? AbortSignal.any([this.#stop.signal, signal]) : this.#stop.signal;
    const answer = await fetch(this.url + path, { method, headers: all, body, signal: stop });
    if (!answer.ok) throw httpError(this.url + path, answer.status, await answer.text());
    return answer;
  }

  /** Before something is tried again; throws what makes that useless, and Unreachable once patience is at its end.
   * @param {unknown} error @param {number} deadline @param {string} what @param {AbortSignal} [signal] */
  async #pause(error, deadline, what, signal) {
    signal?.throwIfAborted();
    if (this._fatal) throw this._fatal;
    if (error instanceof ServerError) throw error;
    if (now() > deadline) {
      throw Object.assign(new Unreachable(`${this.url} does not answer ${what.split("?")[0]}.`), { cause: error });
    }
    await pause(signal);
  }

  /** What is there; a download that was cut goes on where it was. Patience counts from the last byte.
   * @param {string} path @returns {Promise<{ bytes: Uint8Array<ArrayBuffer>, type: string }>} */
  async _fetch(path) {
    /** @type {Uint8Array<ArrayBuffer>[]} */
    let chunks = [];
    let size = 0;
    let deadline = now() + this.patience;
    /** @type {Record<string, string>} */
    const headers = { "Accept-Encoding": "identity" };
    for (;;) {
      try {
        const answer = await this.#request("GET", path, { headers });
        if (answer.status !== PARTIAL_CONTENT) [chunks, size] = [[], 0];
        headers["If-Range"] = answer.headers.get("ETag") ?? "";
        const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (answer.body).getReader();
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
          chunks.push(piece.value);
          size += piece.value.length;
          deadline = now() + this.patience;
        }
        const type = answer.headers.get("Content-Type") ?? "";
        return { bytes: new Uint8Array(await new Blob(chunks).arrayBuffer()), type };
      } catch (error) {
        await this.#pause(error, deadline, `GET ${path}`);
        headers.Range = `bytes=${size}-`;
      }
    }
  }

  /** The id of a new artifact; an upload that was cut goes on where it was: the protocol is tus 1.0.0.
   * @param {Blob} blob @param {Record<string, string | undefined>} about @param {AbortSignal} [signal]
   * @returns {Promise<string>} */
  async #send(blob, about, signal) {
    const metadata = Object.entries(about).map(([key, value]) => `${key} ${base64(value ?? "")}`);
    const start = { ...TUS, "Upload-Length": `${blob.size}`, "Upload-Metadata": metadata.join() };
    let { headers } = await this.#http("POST", "/api/v1/uploads", { headers: start }, signal);
    const path = headers.get("Location") ?? "";
    let deadline = now() + this.patience;
    for (;;) {
      const id = headers.get("Upload-Artifact");
      if (id) return id;
      const offset = headers.get("Upload-Offset") ?? "0";
      const part = { ...TUS, "Upload-Offset": offset, "Content-Type": OFFSET_BYTES };
      try {
        const body = blob.slice(Number(offset));
        ({ headers } = await this.#request("PATCH", path, { headers: part, body }, signal));
      } catch (error) {
        await this.#pause(error, deadline, `PATCH ${path}`, signal);
        ({ headers } = await this.#http("HEAD", path, { headers: TUS }, signal));
        if (headers.get("Upload-Offset") !== offset) deadline = now() + this.patience;
      }
    }
  }

  /** Catch up on the events since the last connection. */
  async #greet() {
    const engine = this.#socket.io.engine;
    const hello = await this.#ask("hello", {});
    const since = this.#seq === undefined ? {} : { since: this.#seq };
    this.#replayed = [];
    const answer = hello?.ok && (await this.#ask("subscribe", since));
    if (!answer?.ok || !this.#socket.connected || this.#socket.io.engine !== engine) {
      engine.close(); // and once more
      return;
    }
    this.limits = hello.limits;
    const missed = new Set(this.#replayed.filter((seq) => seq <= answer.seq)).size; // not the live ones that follow
    this.#seq = answer.resync ? answer.seq : Math.max(this.#seq ?? 0, answer.seq);
    this.#engine = engine;
    this.#socket.io.reconnection(true);
    this.#online.unlock();
    this.#announce({ type: "connected", data: { missed, resync: answer.resync } });
    if (!answer.resync) return;
    this.#announce({ type: "resync", data: { seq: answer.seq } }); // it does not know all events since then any more
    for (const job of this.#knownJobs()) job._reconcile();
  }

  /** @param {string} reason */
  #lost(reason) {
    const wasOnline = this.online;
    this.#engine = undefined;
    this.#plugins = undefined; // the next server may have others
    if (this._fatal) return;
    if (wasOnline) {
      this.#online = gate();
      this.#announce({ type: "lost", data: {} });
    }
    if (!this.#socket.io.reconnection()) this.#fail(new Unreachable(`the connection to ${this.url} broke at once.`));
    else if (reason === "io server disconnect") pause().then(() => this._fatal || this.#socket.connect());
  }

  /** @param {ErrorBody | undefined} refusal what the server has against it; waiting does not help then */
  async #refused(refusal) {
    if (refusal?.code) this.#fail(ServerError.fromWire(refusal));
    else if (!this.#socket.io.reconnection()) this.#fail(await this.#whyNot());
  }

  /** Why no connection came about; the socket's library does not tell. */
  async #whyNot() {
    try {
      const answer = await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(5000) });
      if (!answer.ok) return httpError(`${this.url}/healthz`, answer.status, await answer.text());
      return new Unreachable(`the server at ${this.url} did not accept the connection.`);
    } catch {
      const foreign = pageOrigin() !== undefined && pageOrigin() !== this.url;
      const hint = foreign
        ? `A page of ${pageOrigin()} may not use it, only pages of its own address. Serve the page from there.`
        : "Start one with: python3 server.py - or say where it is with STABLE_CORE_URL or url.";
      return new Unreachable(`no server answers at ${this.url}.`, { hint });
    }
  }

  /** Send and wait for the answer; undefined if the connection broke or stayed silent.
   * @param {string} event @param {Record<string, any>} data @returns {Promise<any>} */
  async #ask(event, data) {
    if (!this.#socket.connected) return undefined;
    return this.#socket.timeout(ANSWER_SECONDS * 1000).emitWithAck(event, data).catch(() => undefined);
  }

  /** @param {string} type @param {any} data */
  #received(type, data) {
    if (typeof data !== "object" || data === null) return;
    if (data.image instanceof ArrayBuffer) data.image = new Uint8Array(data.image); // a browser's
    const key = type === "artifact" ? data.job : data.id;
    const job = this.#jobs.get(key)?.deref() ?? this.#jobs.get(data.client_ref)?.deref();
    if (type === "plugins") this.#plugins = undefined;
    else if (job && ["job", "artifact", "progress", "preview", "log"].includes(type)) {
      if (!this.#jobs.get(key)?.deref()) this._remember(key, job);
      job._receive(/** @type {JobEvent} */ ({ type, data }));
    }
    if (data.seq !== undefined && !this.#engine) this.#replayed.push(data.seq);
    if (data.seq !== undefined && this.#seq !== undefined) this.#seq = Math.max(this.#seq, data.seq);
    this.#announce({ type, data });
  }

  /** @param {ServerEvent} event */
  #announce(event) {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error; // told as any error that nobody catches; the next events come all the same
        });
      }
    }
  }

  #knownJobs() {
    const jobs = [...this.#jobs.values()].map((reference) => reference.deref());
    return new Set(jobs.filter((job) => job !== undefined));
  }

  /** What stands against us for good, and is told. @param {ServerError} error */
  #fail(error) {
    if (this._fatal) return;
    this.#end(error);
    const { code, message, hint } = error;
    this.#announce({ type: "refused", data: { code, message, hint } });
  }

  /** @param {ServerError} error */
  #end(error) {
    if (this._fatal) return;
    this._fatal = error;
    this.#engine = undefined;
    this.#stop.abort();
    this.#socket.disconnect();
    this.#online.unlock(); // whoever waits for the connection is to see the error instead
    for (const job of this.#knownJobs()) job._tell(error);
  }
}

/** A promise that others resolve: what waits for the connection. */
function gate() {
  let unlock = () => {};
  /** @type {Promise<void>} */
  const open = new Promise((resolve) => (unlock = resolve));
  return { open, unlock };
}

function now() {
  return performance.now() / 1000;
}

/** What a promise gives, undefined after `seconds`; rejects with the signal's reason when that aborts.
 * @template T @param {Promise<T>} promise @param {number} seconds @param {AbortSignal} [signal]
 * @returns {Promise<any>} */
async function within(promise, seconds, signal) {
  signal?.throwIfAborted();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let abort = () => {};
  const end = new Promise((resolve, reject) => {
    if (seconds < LONGEST_TIMER_SECONDS) timer = setTimeout(resolve, seconds * 1000);
    abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** @param {AbortSignal} [signal] */
function pause(signal) {
  return within(new Promise(() => {}), TICK_SECONDS, signal);
}

/** Without what is undefined or null. @template {object} T @param {T} object @returns {T} */
function defined(object) {
  const given = Object.entries(object).filter(([, value]) => value !== undefined && value !== null);
  return /** @type {T} */ (Object.fromEntries(given));
}

/** @param {any} value */
function isReference(value) {
  return isPlain(value) && typeof value.job === "string" && Object.keys(value).every((key) => REFERENCE.includes(key));
}

/** @param {any} value */
function isPlain(value) {
  return typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

/** What an upload sends. @param {any} value @returns {Promise<Blob>} */
async function toBlob(value) {
  if (value instanceof Blob) return value;
  if (typeof value === "string" || value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return new Blob([/** @type {BlobPart} */ (value)]);
  }
  const fs = builtin("node:fs");
  if (value instanceof URL && value.protocol === "file:" && fs) return new Blob([await fs.promises.readFile(value)]);
  if (isPlain(value) || Array.isArray(value) || ["number", "boolean"].includes(typeof value) || value === null) {
    return new Blob([JSON.stringify(value)]);
  }
  const what = value instanceof URL ? `the URL ${value}` : `a ${value?.constructor?.name ?? typeof value}`;
  const allowed = "a text, bytes, a File or Blob, a plain value, in Node the file: URL of a file";
  throw new TypeError(`upload: ${what} cannot be uploaded here. Give ${allowed}.`);
}

/** @param {any} value @returns {string | undefined} */
function fileName(value) {
  if (value instanceof URL) return plainName(decodeURIComponent(value.pathname));
  return typeof File !== "undefined" && value instanceof File ? value.name : undefined;
}

/** The file that a program of this machine names. @param {string} path @returns {URL} */
function fileAt(path) {
  const url = builtin("node:url");
  if (url) return url.pathToFileURL(path);
  const shown = path.length > 60 ? `${path.slice(0, 60)}...` : path;
  throw new TypeError(`a page has no file ${JSON.stringify(shown)}. Give the File or Blob, or the id of an artifact.`);
}

/** The last part of a path of any system. @param {string} path */
function plainName(path) {
  const name = path.split(/[\\/]/).at(-1) ?? "";
  return [".", ".."].includes(name) ? "" : name;
}

/** Let the browser download it. @param {Blob} blob @param {string} name */
function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // it is read until then
  return name;
}

/** @param {number} bytes */
function count(bytes) {
  return bytes.toLocaleString("en-US");
}

/** 32 hex digits; crypto.randomUUID is not there in pages of http addresses. */
function randomName() {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** "InvalidParams" for "invalid_params". @param {string} code */
function classOf(code) {
  return code.replace(/(?:^|_)(.)/g, (_, letter) => letter.toUpperCase());
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** @param {string} url @param {number} status @param {string} text */
function httpError(url, status, text) {
  try {
    return ServerError.fromWire(JSON.parse(text).error);
  } catch {
    return new Unreachable(`what answers at ${url.split("?")[0]} is not a stable-core server (status ${status}).`);
  }
}

/** A module of Node, undefined in browsers; a bundler does not see it.
 * @template {"node:fs" | "node:os" | "node:path" | "node:url"} Name @param {Name} name
 * @returns {{ "node:fs": typeof import("node:fs"), "node:os": typeof import("node:os"),
 *   "node:path": typeof import("node:path"), "node:url": typeof import("node:url") }[Name] | undefined} */
function builtin(name) {
  return /** @type {any} */ (globalThis).process?.getBuiltinModule?.(name);
}

/** @param {string} name @returns {string | undefined} */
function environment(name) {
  return /** @type {any} */ (globalThis).process?.env?.[name] || undefined;
}

/** Where this page is from; undefined outside of browsers. @returns {string | undefined} */
function pageOrigin() {
  return builtin("node:fs") ? undefined : globalThis.location?.origin;
}

/** The token for the server at `url`: in the URL, in STABLE_CORE_TOKEN, or the one of this user on this machine, which
 * is for this machine's server: no other may get to see it. "" in a page, where the cookie serves. @param {URL} url */
function findToken(url) {
  const own = () => (LOCAL.includes(url.hostname) ? readToken() : "");
  return url.searchParams.get("token") || environment("STABLE_CORE_TOKEN") || own();
}

/** What a server of this user on this machine wrote down, "" if there was none yet. */
function readToken() {
  const [fs, os, path] = [builtin("node:fs"), builtin("node:os"), builtin("node:path")];
  if (!fs || !os || !path) return "";
  const home = os.homedir();
  let folder = environment("XDG_CONFIG_HOME") ?? path.join(home, ".config");
  if (os.platform() === "darwin") folder = path.join(home, "Library", "Application Support");
  if (os.platform() === "win32") {
    folder = path.join(environment("LOCALAPPDATA") ?? path.join(home, "AppData", "Local"), "stable-core");
  }
  try {
    return fs.readFileSync(path.join(folder, "stable-core", "token"), "utf8").trim();
  } catch {
    return "";
  }
}
