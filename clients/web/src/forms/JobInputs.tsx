// The inputs of a job: files dropped, pasted or chosen, earlier results, texts that are typed.

import { Upload as UploadIcon, X } from "lucide-react";
import { useEffect, useId, useRef, useState } from "react";

import type { Given } from "../app/intents";
import { byField } from "../server/client";
import type { ErrorBody, JobType, Port } from "../server/types";
import { isPicture, thumbnailUrl } from "../ui/pictures";
import css from "./JobInputs.module.css";
import { words } from "./schema";
import { send, useUploads } from "./uploads";

const ACCEPT: Record<string, string> = {
  image: "image/*", mask: "image/*", audio: ".wav,audio/wav", video: ".mp4,video/mp4",
};
export const isTyped = ({ kind }: Port): boolean => kind === "text" || kind === "json";

interface Props {
  job: JobType;
  inputs: Record<string, Given[]>;
  onChange: (inputs: Record<string, Given[]>) => void;
  problem?: ErrorBody | null;
  /** Which of them: those that have to be given, those that may be left out, by default all. */
  only?: "needed" | "optional";
}

export function JobInputs({ job, inputs, onChange, problem, only }: Props) {
  const latest = useRef(inputs); // an upload ends much later than it began
  useEffect(() => void (latest.current = inputs));
  const problems = byField(problem, Object.keys(job.inputs));
  const ports = Object.entries(job.inputs).filter(([, { optional }]) => !only || optional === (only === "optional"));
  const change = (name: string, to: (given: Given[]) => Given[]) => {
    latest.current = { ...latest.current, [name]: to(latest.current[name] ?? []) };
    onChange(latest.current);
  };
  return ports.map(([name, port]) => (
    <InputField
      key={name} name={name} port={port} place={`${job.full}/${name}`} given={inputs[name] ?? []}
      onChange={(to) => change(name, to)}
      problem={name in (job.params.properties ?? {}) ? undefined : problems[name]}
    />
  ));
}

interface FieldProps {
  name: string;
  port: Port;
  place: string;
  given: Given[];
  onChange: (to: (given: Given[]) => Given[]) => void;
  problem?: string;
}

function InputField({ name, port, place, given, onChange, problem }: FieldProps) {
  const id = useId();
  const [refused, setRefused] = useState("");
  const [over, setOver] = useState(false);
  const uploads = useUploads(({ uploads }) => uploads).filter((upload) => upload.place === place);
  const add = (item: Given) => onChange((before) => [...before, item]);
  const take = (files: File[]) => {
    setRefused("");
    if (!port.list) onChange(() => []); // of an input that takes one, several at once are several runs
    for (const file of files) send(place, file, port.kind, add, setRefused);
  };
  const error = refused || problem;
  return (
    <div
      className={css.field} data-field={name} data-over={over}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setOver(false);
        take([...event.dataTransfer.files]);
      }}
    >
      <label htmlFor={id}>
        {words(name)} {port.optional && <small>optional</small>}
      </label>
      <ul className={css.items}>
        {given.map((item, index) => (
          "artifact" in item && (
            <li key={item.artifact.id}>
              {isPicture(item.artifact) && <img src={thumbnailUrl(item.artifact, 128)} alt="" />}
              <span title={item.artifact.name ?? item.artifact.id}>{item.artifact.name ?? item.artifact.kind}</span>
              <button
                type="button" className="quiet" aria-label={`Remove ${item.artifact.name ?? item.artifact.kind}`}
                onClick={() => onChange((before) => before.filter((_, other) => other !== index))}
              >
                <X size={16} aria-hidden="true" />
              </button>
            </li>
          )
        ))}
        {uploads.map((upload) => (
          <li key={upload.id}>
            {upload.picture && <img src={upload.picture} alt="" />}
            <span>{upload.name}</span>
            <progress aria-label={`${upload.name} is being uploaded`} />
          </li>
        ))}
      </ul>
      {isTyped(port) && !given.some((item) => "artifact" in item) ? (
        <textarea
          id={id} rows={3} value={typedIn(given)} aria-invalid={Boolean(error)} aria-describedby={`${id}-help ${id}-error`}
          onChange={({ target }) => onChange(() => (target.value ? [{ text: target.value }] : []))}
        />
      ) : (
        <div className={css.drop}>
          <UploadIcon size={16} aria-hidden="true" />
          <input
            id={id} type="file" accept={ACCEPT[port.kind]} multiple aria-invalid={Boolean(error)}
            aria-describedby={`${id}-help ${id}-error`}
            onChange={({ target }) => {
              take([...(target.files ?? [])]);
              target.value = "";
            }}
          />
        </div>
      )}
      <p id={`${id}-help`} className={css.help}>{port.help}</p>
      <p id={`${id}-error`} className="error" hidden={!error}>{error}</p>
    </div>
  );
}

const typedIn = (given: Given[]): string => given.map((item) => ("text" in item ? item.text : "")).join("");

/** What a submit sends: the ids of artifacts, and texts to be uploaded by the SDK. */
export function inputsToSend({ inputs: ports }: JobType, inputs: Record<string, Given[]>): Record<string, unknown[]> {
  const sent = (item: Given) => ("artifact" in item ? item.artifact.id : new Blob([item.text]));
  const given = Object.entries(ports).map(([name, port]) => {
    const items = (inputs[name] ?? []).map(sent);
    return [name, items.length || port.optional || port.kind !== "text" ? items : [new Blob([""])]] as const;
  });
  return Object.fromEntries(given.filter(([, items]) => items.length));
}
