// Manage, Models: which files there are, of which kind, where they come from, and where to put others.

import { useEffect, useState } from "react";

import { complain } from "../../app/notices";
import { Fetchable } from "../../forms/Fetchable";
import { call, onEvent } from "../../server/client";
import { useServer } from "../../server/store";
import type { JobType, ModelFile, ModelKind } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { Empty } from "../../ui/Empty";
import { moment, size } from "../../ui/format";
import { hasWords } from "../../ui/search";
import css from "./Models.module.css";

const MOST_SHOWN = 200; // files of a kind; more are found by a search

export function Models() {
  const kinds = useKinds();
  const [words, setWords] = useState("");
  if (!kinds) return <Empty title="One moment …" />;
  if (!kinds.length) return <Empty title="No plugin uses models">Those that do say here which kinds, and where to put the files.</Empty>;
  const found = kinds.map((kind) => ({ ...kind, files: kind.files.filter(({ name }) => hasWords(name, words)) }));
  const shown = found.filter(({ files, kind, fetchable }) => !words || files.length || hasWords(kind, words) || fetchable.some(({ id }) => hasWords(id, words)));
  return (
    <>
      <p className={css.lead}>A file that is put into one of these folders is there within seconds, without a restart.</p>
      <input type="search" placeholder="Search models" aria-label="Search models" value={words} onChange={(event) => setWords(event.target.value)} />
      {shown.map((kind) => <Kind key={kind.kind} kind={kind} />)}
      {!shown.length && <Empty title="No model has that name" />}
    </>
  );
}

/** All kinds, those that are asked for by forms but have no folder yet, too; anew when files or plugins come and go. */
function useKinds(): ModelKind[] | undefined {
  const catalogue = useServer((server) => server.catalogue);
  const online = useServer(({ connection }) => connection.state === "online");
  const [listed, setListed] = useState<ModelKind[]>();
  useEffect(() => {
    if (!online) return;
    const read = () => call<{ kinds: ModelKind[] }>("models").then(({ kinds }) => setListed(kinds), complain);
    void read();
    return onEvent(({ type }) => void (type === "models" && read()));
  }, [online, catalogue]);
  if (!listed) return undefined;
  const known = new Set(listed.map(({ kind }) => kind));
  const asked = [...kindsOf(Object.values(catalogue))].filter((kind) => !known.has(kind));
  const none = asked.map((kind) => ({ kind, files: [], fetchable: [] }));
  return [...listed, ...none].sort((a, b) => a.kind.localeCompare(b.kind));
}

/** The kinds of models that the parameters of these jobs choose from. */
function kindsOf(jobs: JobType[]): Set<string> {
  const lists = JSON.stringify(jobs.map(({ params }) => params)).matchAll(/"choices_from":\s*"models\/([^"]+)"/g);
  return new Set([...lists].map(([, kind]) => kind));
}

function Kind({ kind: { kind, files, fetchable } }: { kind: ModelKind }) {
  const folder = `models/${kind}/`;
  return (
    <section className={css.kind}>
      <header>
        <h2>{kind}</h2>
        <span className={css.soft}>{files.length || "none"}</span>
        <span className={css.where}>
          <code>{folder}</code> <CopyButton text={folder} what={`the folder of ${kind}`} />
        </span>
      </header>
      {files.length > 0 && <Files kind={kind} files={files} />}
      {fetchable.map((each) => <Fetchable key={`${each.plugin} ${each.id}`} model={each} />)}
    </section>
  );
}

function Files({ kind, files }: { kind: string; files: ModelFile[] }) {
  return (
    <>
      <ul className={css.files} aria-label={`Models of the kind ${kind}`}>
        {files.slice(0, MOST_SHOWN).map((file) => (
          <li key={`${file.source} ${file.name}`}>
            <span className={css.name} title={file.name}>{file.name}</span>
            <span>{size(file.size_bytes)}</span>
            <span>{file.source === "folder" ? moment(file.modified) : <From source={file.source} />}</span>
          </li>
        ))}
      </ul>
      {files.length > MOST_SHOWN && <p className={css.soft}>And {files.length - MOST_SHOWN} more: search for them.</p>}
    </>
  );
}

function From({ source }: { source: string }) {
  const title = useServer(({ plugins }) => plugins.find(({ name }) => name === source)?.title ?? source);
  return <>{source.includes(" ") ? source : `comes with ${title}`}</>; // no plugin's name has a space: another app's folder
}
