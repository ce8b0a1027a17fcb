// What the server sends, in its own words: see docs/protocol.md.

import type { ArtifactRecord as SdkArtifact, ErrorBody } from "stable-core";

export type { ErrorBody };
export type State = "held" | "waiting" | "queued" | "running" | "done" | "failed" | "cancelled";
export type Values = Record<string, unknown>;

export interface Port {
  kind: string;
  list: boolean;
  optional: boolean;
  help?: string;
}

/** Hints for forms: the `ui` of a parameter's schema. */
export interface Hints {
  widget?: string;
  group?: string;
  order?: number;
  advanced?: boolean;
  unit?: string;
  step?: number;
  visible_if?: Values;
  choices?: unknown[];
  choices_from?: string;
  /** Of a text: the light job that counts its tokens. */
  counts?: string;
  /** Of a width: the parameter that is its height. */
  pairs_with?: string;
  /** Of "call/JOB": the light jobs that tell, write and delete an entry. */
  reads?: string;
  saves?: string;
  deletes?: string;
  /** At which side a picture grows by so many pixels. */
  frame?: "left" | "right" | "up" | "down";
  /** What the parameter does to a mask. */
  mask?: "blur" | "invert" | "crop";
}

export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  multipleOf?: number;
  maxLength?: number;
  maxItems?: number;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  required?: string[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  ui?: Hints;
  [more: string]: unknown;
}

export interface Announced {
  name: string;
  help: string;
  inputs: Record<string, Port>;
  output: Port;
  params: Schema;
  light: boolean;
  program: boolean;
  /** The server puts it between two jobs that would not fit. */
  converts?: boolean;
  plans: boolean;
}

/** A job as the page knows it: `full` is plugin.job. */
export interface JobType extends Announced {
  full: string;
  plugin: string;
  title: string;
}

export interface Plugin {
  name: string;
  status: "installing" | "ready" | "disabled" | "refused";
  error: string | null;
  jobs: Announced[];
  settings: Schema;
  notes: string[];
  version?: string;
  title?: string;
  description?: string;
  author?: string;
  licence?: string;
  homepage?: string;
}

export type Reference = string | { job: string; index?: number; review?: "picked" };

/** What a job waits for: another job, a person's look at a result, a person who lets it run, or a machine that alone may run it. */
export interface Wait {
  job?: string;
  state?: State;
  artifact?: string;
  review?: string;
  person?: "release";
  until?: number;
  remote?: string;
  remote_state?: Machine["state"];
}

export interface JobRecord {
  id: string;
  name: string;
  state: State;
  priority: "interactive" | "normal" | "batch";
  session: string;
  parent?: string;
  children?: number;
  children_ended?: number;
  extends?: string;
  params: Values;
  inputs: Record<string, Reference[]>;
  created: number;
  started?: number;
  finished?: number;
  attempt: number;
  /** plugin@device, of the last one that ran it. */
  worker?: string | null;
  cancel?: "discard" | "keep";
  error?: ErrorBody | null;
  outputs?: string[];
  position?: number;
  eta_seconds?: number | null;
  waits_for?: Wait[];
  metrics?: Record<string, number | string | null>;
}

export interface ArtifactRecord extends SdkArtifact {
  idx: number;
  sha256: string;
  session: string;
  review: "new" | "picked" | "rejected";
  facts: Record<string, any>;
  created: number;
  source?: string;
  path?: string;
}

export interface Progress {
  id: string;
  step: number;
  total: number;
  phase: string;
  eta_seconds?: number | null;
  next_output?: { index: number; eta_seconds: number | null };
}

export interface Worker {
  plugin: string;
  device: string;
  ready: boolean;
  memory_bytes: number;
  warm?: unknown;
  pid?: number;
  detached: boolean;
  jobs: string[];
}

/** What jobs run on: "cuda:0" here, "gpu1/cuda:0" of the machine gpu1, "ray/0"; "side" is for programs and light jobs. */
export interface Device {
  name: string;
  where: string;
  state: "idle" | "starting" | "ready" | "away";
  title: string;
  /** Null: nobody says. */
  free_bytes: number | null;
  total_bytes: number | null;
  workers: Worker[];
}

/** A machine that is reached over SSH, or the Ray cluster, which has no record. What is optional is for the admin, or of a record. */
export interface Machine {
  name: string;
  state: "connecting" | "preparing" | "connected" | "lost" | "failed" | "off";
  since: number;
  seen: number;
  plugins?: string[];
  on?: boolean;
  rule?: { jobs: string[]; priorities: string[]; when: "prefer" | "busy" | "only" };
  step?: string;
  error?: ErrorBody;
  round_trip_seconds?: number | null;
  address?: string;
  idle_minutes?: number;
  rented?: { provider: string; price_per_hour: number; spend_limit: number; created: number; spent: number; ended: string };
}

export interface Devices {
  devices: Device[];
  remotes: Machine[];
  /** Jobs, by plugin. */
  queued: Record<string, number>;
}

export interface Plan {
  job: string;
  params: Values;
  count: number | null;
  outputs?: Record<string, any>[];
  /** That a program begins with. */
  jobs?: { job: string; params: Values; inputs: Record<string, unknown>; key: string }[];
  eta_seconds: number | null;
}

export interface LogLine {
  time: number;
  /** None: the server itself. */
  job?: string;
  /** The job's, plugin.job; or the plugin that the server speaks of. */
  name?: string;
  text: string;
}

export interface ModelFile {
  name: string;
  size_bytes: number;
  modified: number;
  /** "folder", or the plugin that ships it. */
  source: string;
}

/** How far the fetch of a model is. */
export interface Fetch {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  phase: string;
  done_bytes: number;
  total_bytes: number | null;
  error: ErrorBody | null;
}

/** What a plugin names; nobody fetches it by itself. */
export interface ModelFetchable {
  /** kind/name */
  id: string;
  plugin: string;
  url: string;
  /** On the Hugging Face hub, which knows the hash where no sha256 is told. */
  repo: string | null;
  size_bytes: number | null;
  licence: string | null;
  sha256: string | null;
  there: boolean;
  part_bytes: number;
  fetch: Fetch | null;
}

export interface ModelKind {
  kind: string;
  files: ModelFile[];
  fetchable: ModelFetchable[];
}

/** Of one parameter: only what is declared, or changed. */
export interface Override {
  default?: unknown;
  minimum?: number;
  maximum?: number;
  step?: number;
}
