// The inputs of a job: files dropped, pasted or chosen, earlier results, texts that are typed.

import { GalleryVerticalEnd, Upload as UploadIcon, X } from "lucide-react";
import { useId, useRef, useState } from "react";

import { fits, wayInto } from "../app/fitting";
import { type Given, setDraft, useForms } from "../app/intents";
import { say } from "../app/notices";
import { byField } from "../server/client";
import { useServer } from "../server/store";
import type { ArtifactRecord, ErrorBody, JobType, Port } from "../server/types";
import { pastedFiles } from "../ui/files";
import { isPicture, thumbnailUrl } from "../ui/pictures";
import css from "./JobInputs.module.css";
import { ResultPicker } from "./ResultPicker";
import { words } from "./schema";
import { send, useUploads } from "./uploads";

const ACCEPT: Record<string, string> = {
  image: "image/*", mask: "image/*", audio: ".wav,audio/wav", video: ".mp4,video/mp4", text: ".txt,.md,.srt,.vtt,text/*", json: ".json,application/json",
};
const isTyped = ({ kind }: Port): boolean => kind === "text" || kind === "json";

interface Props {
  job: JobType;
  inputs: Record<string, Given[]>;
  onChange: (inputs: Record<string, Given[]>) => void;
  problem?: ErrorBody | null;
  /** Those that have to be given, or those that may be left out; by default all. */
  only?: "needed" | "optional";
}

export function JobInputs({ job, inputs, onChange, problem, only }: Props) {
  const latest = useRef(inputs); // an upload ends much later than it began
  latest.current = inputs;
  const problems = byField(problem, Object.keys(job.inputs));
  const ports = Object.entries(job.inputs).filter(([, { optional }]) => !only || optional === (only === "optional"));
  const change = (name: string, to: (given: Given[]) => Given[]) => {
    latest.current = { ...latest.current, [name]: to(latest.current[name] ?? []) };
    onChange(latest.current);
  };
  return ports.map(([name, port]) => (
    <InputField
      key={name} job={job} name={name} port={port} place={`${job.full}/${name}`} given={inputs[name] ?? []}
      onChange={(to) => change(name, to)}
      problem={name in (job.params.properties ?? {}) ? undefined : problems[name]}
    />
  ));
}

interface FieldProps {
  job: JobType;
  name: string;
  port: Port;
  place: string;
  given: Given[];
  onChange: (to: (given: Given[]) => Given[]) => void;
  problem?: string;
}

function InputField({ job, name, port, place, given, onChange, problem }: FieldProps) {
  const id = useId();
  const chooser = useRef<HTMLInputElement>(null);
  const [refused, setRefused] = useState("");
  const [over, setOver] = useState(false);
  const [picking, setPicking] = useState(false);
  const uploads = useUploads((state) => state.uploads).filter((upload) => upload.place === place);
  const add = (item: Given) => onChange((before) => [...before.filter((each) => "artifact" in each), item]);
  const fresh = () => {
    setRefused("");
    if (!port.list) onChange(() => []); // of an input that takes one, several at once are several runs
  };
  const take = (files: File[]) => {
    if (!files.length) return;
    fresh();
    for (const file of files) send(place, file, port.kind, add, setRefused);
  };
  const error = refused || problem;
  const artifacts = given.flatMap((item) => ("artifact" in item ? [item.artifact] : []));
  const converted = useConverted(job, port, artifacts);
  const described = { "aria-invalid": Boolean(error), "aria-describedby": `${id}-help ${id}-error` };
  return (
    <div
      className={css.field} data-field={name} data-over={over} role="group" aria-label={words(name)}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        setOver(false);
        if (!event.dataTransfer.files.length) return;
        event.preventDefault();
        event.stopPropagation();
        take([...event.dataTransfer.files]);
      }}
    >
      <label htmlFor={id}>
        {words(name)} <small>{port.optional ? "optional" : ""}</small>
      </label>
      {(artifacts.length > 0 || uploads.length > 0) && (
        <ul className={css.items} data-pictures={fits(port.kind, "image")}>
          {artifacts.map((artifact, index) => (
            <Item
              key={`${artifact.id} ${index}`} artifact={artifact}
              onRemove={() => onChange((before) => before.filter((item) => !("artifact" in item) || item.artifact.id !== artifact.id))}
            />
          ))}
          {uploads.map(({ id: key, picture, name: file, stop }) => (
            <li key={key}>
              {picture ? <img src={picture} alt="" /> : <span>{file}</span>}
              <progress aria-label={`${file} is on its way`} />
              <button type="button" className="quiet" aria-label={`Stop sending ${file}`} onClick={() => stop.abort()}><X size={14} aria-hidden="true" /></button>
            </li>
          ))}
        </ul>
      )}
      {isTyped(port) && !artifacts.length && (
        <textarea
          id={id} rows={3} value={typedIn(given)} {...described} className={port.kind === "json" ? css.code : undefined}
          onChange={({ target }) => onChange(() => (target.value ? [{ text: target.value }] : []))}
        />
      )}
      <div className={css.ways} data-empty={!artifacts.length && !uploads.length && !isTyped(port) && !port.optional}>
        <input
          ref={chooser} id={isTyped(port) && !artifacts.length ? undefined : id} type="file" accept={ACCEPT[port.kind]} multiple className="hidden-text"
          aria-label={`Files for ${words(name)}`} {...described}
          onChange={({ target }) => {
            take([...(target.files ?? [])]);
            target.value = "";
          }}
        />
        <button type="button" onClick={() => chooser.current!.click()} tabIndex={-1} aria-hidden="true">
          <UploadIcon size={16} aria-hidden="true" /> {isTyped(port) ? "File" : port.optional ? "Choose" : "Drop, paste or choose"}
        </button>
        <button type="button" onClick={() => setPicking(true)}>
          <GalleryVerticalEnd size={16} aria-hidden="true" /> From results
        </button>
      </div>
      {converted && <p className={css.help}>{converted}</p>}
      <p id={`${id}-help`} className={css.help} hidden={!port.help}>{port.help}</p>
      <p id={`${id}-error`} className="error" hidden={!error}>{error}</p>
      {picking && (
        <ResultPicker
          kind={port.kind} several={port.list} onClose={() => setPicking(false)}
          onChoose={(chosen) => {
            fresh();
            for (const artifact of chosen) add({ artifact });
          }}
        />
      )}
    </div>
  );
}

/** What is done first with results that do not fit as they are. */
function useConverted(job: JobType, port: Port, artifacts: ArtifactRecord[]): string {
  const catalogue = useServer((server) => server.catalogue);
  const kinds = [...new Set(artifacts.map(({ kind }) => kind))];
  return kinds.flatMap((kind) => {
    const { through } = wayInto(catalogue, kind, port.kind, job);
    return through ? `${through.title} makes ${through.output.kind} of the ${kind} first.` : [];
  }).join(" ");
}

function Item({ artifact, onRemove }: { artifact: ArtifactRecord; onRemove: () => void }) {
  const label = artifact.name ?? artifact.kind;
  return (
    <li title={label}>
      {isPicture(artifact) ? <img src={thumbnailUrl(artifact, 192)} alt={label} /> : <span>{label}</span>}
      <button type="button" className="quiet" aria-label={`Remove ${label}`} onClick={onRemove}>
        <X size={14} aria-hidden="true" />
      </button>
    </li>
  );
}

const typedIn = (given: Given[]): string => given.map((item) => ("text" in item ? item.text : "")).join("");

/** Files that are pasted on the page go to the first input that takes such, the empty ones first. */
export function takePasted(event: ClipboardEvent, job: JobType): void {
  const files = pastedFiles(event);
  const kind = (file: File) => file.type.split("/")[0];
  const ports = Object.entries(job.inputs).filter(([, port]) => files.some((file) => fits(kind(file), port.kind)));
  const before = () => useForms.getState().drafts[job.full]?.inputs ?? {};
  const [name, port] = ports.find(([each]) => !before()[each]?.length) ?? ports[0] ?? [];
  if (!name || !port) return;
  event.preventDefault();
  const put = (given: Given[]) => setDraft(job.full, { inputs: { ...before(), [name]: given } });
  if (!port.list) put([]);
  for (const file of files) {
    send(`${job.full}/${name}`, file, port.kind, (item) => put([...(before()[name] ?? []), item]), (why) => say(why, "error"));
  }
}

/** What a submit sends: the ids of artifacts, and texts to be uploaded by the SDK. */
export function inputsToSend({ inputs: ports }: JobType, inputs: Record<string, Given[]>): Record<string, unknown[]> {
  const sent = (item: Given) => ("artifact" in item ? item.artifact.id : new Blob([item.text]));
  const given = Object.entries(ports).map(([name, port]) => {
    const items = (inputs[name] ?? []).map(sent);
    return [name, items.length || port.optional || port.kind !== "text" ? items : [new Blob([""])]] as const;
  });
  return Object.fromEntries(given.filter(([, items]) => items.length));
}
