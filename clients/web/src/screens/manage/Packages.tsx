// Manage, Plugins: where they are from, other releases, switching off; and new ones, looked at before they are installed.

import { LoaderCircle, RefreshCw, TriangleAlert } from "lucide-react";
import { type FormEvent, type ReactNode, useState } from "react";

import { sentence } from "../../server/client";
import type { Plugin } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { Dialog, firstToFocus } from "../../ui/Dialog";
import { size } from "../../ui/format";
import { Menu } from "../../ui/Menu";
import { type Begin, command, type Entry, type Package, type Packages, type Report, type Run, signature } from "./releases";
import css from "./Packages.module.css";

const SHOWN_FINDINGS = 5; // of a kind
const DOES: Record<Run["action"], string> = {
  inspect: "Looking at", install: "Installing", update: "Updating", rollback: "Going back with", uninstall: "Removing",
  enable: "Enabling", disable: "Disabling", refresh: "Reading the indexes",
};

/** Below the plugins: how others are installed. */
export function Installing({ packages: { told, begin, looked, decide }, words, search }: { packages: Packages; words: string; search: (words: string) => void }) {
  if (!told) return null;
  const busy = told.run?.state === "running";
  return (
    <section className={css.installing} aria-label="Install a plugin">
      <h2>Install a plugin</h2>
      {told.install_over_api ? <Source busy={busy} begin={begin} /> : <AtTheMachine />}
      {told.indexes.length > 0 && (
        <>
          <div className={css.bar}>
            <input type="search" placeholder="Search the indexes" aria-label="Search the indexes" value={words} onChange={(event) => search(event.target.value)} />
            <button type="button" className="quiet" disabled={busy} onClick={() => begin("refresh")} aria-label="Read the indexes anew" title="Read the indexes anew">
              <RefreshCw size={16} aria-hidden="true" />
            </button>
          </div>
          <Available entries={told.available} total={told.total} installed={told.packages} allowed={told.install_over_api} busy={busy} begin={begin} />
          {told.indexes.flatMap(({ notes }) => notes).map((note) => <p key={note} className={css.soft}>{note}</p>)}
        </>
      )}
      {looked?.report && <Looked run={looked} report={looked.report} begin={begin} onClose={decide} />}
    </section>
  );
}

function Source({ busy, begin }: { busy: boolean; begin: Begin }) {
  const [source, setSource] = useState("");
  const look = (event: FormEvent) => {
    event.preventDefault();
    if (source.trim()) begin("inspect", { source: source.trim() });
  };
  return (
    <form className={css.bar} onSubmit={look}>
      <input
        type="text" spellCheck={false} autoComplete="off" aria-label="Source of a plugin" value={source} onChange={(event) => setSource(event.target.value)}
        placeholder="https://example.org/frame.git@v1, a .zip, a folder or a name"
      />
      <button type="submit" disabled={busy || !source.trim()}>Look at it</button>
      <p className={css.soft}>None of its code runs before you have seen what is in it, and agreed.</p>
    </form>
  );
}

function AtTheMachine() {
  return (
    <div className={css.soft}>
      Plugins are installed on the server's own machine: <Command text={command("install", "SOURCE")} />
      SOURCE is a git address, a .zip, a folder or a name in an index. With <code>install_over_api = true</code> in its config.toml, you can do it here.
    </div>
  );
}

export const Command = ({ text }: { text: string }) => (
  <span className={css.command}><code>{text}</code> <CopyButton text={text} what="the command" /></span>
);

interface AvailableProps {
  entries: Entry[];
  total: number;
  installed: Package[];
  allowed: boolean;
  busy: boolean;
  begin: Begin;
}

function Available({ entries, total, installed, allowed, busy, begin }: AvailableProps) {
  if (!entries.length) return <p className={css.soft}>No plugin of the indexes has these words.</p>;
  return (
    <>
      <ul className={css.entries} aria-label="Plugins of the indexes">
        {entries.map((entry) => (
          <li key={entry.name}>
            <span className={css.name}><b>{entry.title || entry.name}</b> <small>{[entry.version, entry.licence, entry.publisher].join(" · ")}</small></span>
            <span className={css.what} title={Object.entries(entry.jobs).map(([name, job]) => signature(name, job)).join("\n")}>{entry.description}</span>
            <Way entry={entry} there={installed.find(({ name }) => name === entry.name)} allowed={allowed} busy={busy} begin={begin} />
          </li>
        ))}
      </ul>
      {total > entries.length && <p className={css.soft}>And {total - entries.length} more: search for them.</p>}
    </>
  );
}

function Way({ entry, there, allowed, busy, begin }: { entry: Entry; there?: Package; allowed: boolean; busy: boolean; begin: Begin }) {
  if (entry.withdrawn) return <span className={css.soft}>withdrawn: {entry.withdrawn}</span>;
  if (there) return <span className={css.soft}>installed</span>;
  if (!allowed) return <CopyButton text={command("install", entry.name)} what={`the command that installs ${entry.name}`} />;
  return <button type="button" disabled={busy} onClick={() => begin("inspect", { source: entry.name })} aria-label={`Look at ${entry.name}`}>Look at it</button>;
}

/** The command that runs, or has failed. */
export function Running({ run }: { run: Run }) {
  const failed = run.state === "failed";
  return (
    <div className={css.run} data-failed={failed} role="status">
      <p>
        {failed ? <TriangleAlert size={16} aria-hidden="true" /> : <LoaderCircle size={16} aria-hidden="true" className={css.turns} />}
        <span>{DOES[run.action]} {run.action !== "refresh" && run.what}{failed ? ` failed. ${sentence(run.error)}` : ` … ${run.lines.at(-1) ?? ""}`}</span>
      </p>
      {run.lines.length > 0 && (
        <details>
          <summary>What it says</summary>
          <pre tabIndex={0} aria-label="What the command says">{run.lines.join("\n")}</pre>
        </details>
      )}
    </div>
  );
}

function Looked({ run, report, begin, onClose }: { run: Run; report: Report; begin: Begin; onClose: () => void }) {
  const update = report.changes.length > 0;
  const title = `${report.title || report.name} ${report.version}`;
  const agree = () =>
    update ? begin("update", { name: report.name, hash: report.hash }, title) : begin("install", { source: run.what, hash: report.hash }, title);
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <button type="button" ref={firstToFocus} onClick={onClose}>Leave it</button>
          {!report.errors.length && <button type="button" className="primary" onClick={agree}>{update ? "Update" : "Install"}</button>}
        </>
      }
    >
      <div className={css.report} tabIndex={0} role="group" aria-label={`What is in ${title}`}>
        {report.errors.map((error) => <p key={error} className={css.error}><TriangleAlert size={16} aria-hidden="true" /> It cannot be installed: {error}</p>)}
        {report.description && <p>{report.description}</p>}
        {update && <Lines title="What is different" lines={report.changes} />}
        <Facts report={report} />
        <Findings report={report} />
      </div>
    </Dialog>
  );
}

function Facts({ report }: { report: Report }) {
  const facts: [string, ReactNode][] = [
    ["Name", report.name],
    ["Licence", report.licence || "none: nobody may use it without asking its author"],
    ["Author", report.author],
    ["Source", [report.source, report.commit && `commit ${report.commit.slice(0, 12)}`].filter(Boolean).join(", ")],
    ["Content", `${report.files} files, ${size(report.size_bytes)}`],
    ["Hash", <code key="hash">{report.hash}</code>],
    ["Jobs", Object.entries(report.jobs).map(([name, job]) => <div key={name}>{signature(name, job)}</div>)],
    ["Packages", report.requirements.join(", ") || "none of its own"],
    ["To fetch", report.download],
    ["Models", report.models.map((model) => <div key={`${model.kind} ${model.name}`}>{model.kind} {model.name} · {[model.size_bytes && size(model.size_bytes), model.licence ?? "licence not told", model.path ? "comes with it" : "fetched when you ask"].filter(Boolean).join(" · ")}</div>)],
  ];
  return (
    <dl className={css.facts}>
      {facts.filter(([, value]) => (Array.isArray(value) ? value.length : value)).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

function Findings({ report: { warnings, kinds: words } }: { report: Report }) {
  const kinds = [...new Set(warnings.map(({ kind }) => kind))];
  if (!kinds.length) return <p className={css.soft}>Reading its code, nothing was found that you should look at. That is no proof.</p>;
  return (
    <section className={css.findings} aria-label="What to look at in its code">
      <h3>Look at this before you agree</h3>
      {kinds.map((kind) => <Kind key={kind} title={words[kind] ?? kind} found={warnings.filter((each) => each.kind === kind)} />)}
    </section>
  );
}

function Kind({ title, found }: { title: string; found: Report["warnings"] }) {
  return (
    <div>
      <p><TriangleAlert size={14} aria-hidden="true" /> {title}</p>
      <ul>
        {found.slice(0, SHOWN_FINDINGS).map(({ where, text }) => <li key={`${where} ${text}`}><code>{where}</code> {text}</li>)}
        {found.length > SHOWN_FINDINGS && <li>and {found.length - SHOWN_FINDINGS} more</li>}
      </ul>
    </div>
  );
}

const Lines = ({ title, lines }: { title: string; lines: string[] }) => (
  <section className={css.findings}><h3>{title}</h3><pre>{lines.join("\n")}</pre></section>
);

/** Of one plugin: where it is from, and what may be done with it. */
export function Origin({ plugin, packages: { told, begin } }: { plugin: Plugin; packages: Packages }) {
  const [asking, ask] = useState(false);
  if (!told) return null;
  const { name, title = name } = plugin;
  const found = told.linked.includes(name) ? undefined : told.packages.find((each) => each.name === name);
  const off = plugin.status === "disabled";
  const busy = told.run?.state === "running";
  return (
    <>
      {found && <From found={found} />}
      {told.linked.includes(name) && <p className={css.soft}>Somebody develops it in a folder of their own.</p>}
      <div className={css.bar}>
        <button type="button" disabled={busy} onClick={() => begin(off ? "enable" : "disable", { name })} aria-label={`${off ? "Enable" : "Disable"} ${title}`}>
          {off ? "Enable" : "Disable"}
        </button>
        {found && <Back found={found} title={title} busy={busy} begin={begin} />}
        {found && told.install_over_api && (
          <>
            <button type="button" disabled={busy} onClick={() => begin("inspect", { name })} aria-label={`Look for an update of ${title}`}>
              {found.newer ? `Update to ${found.newer}` : "Look for an update"}
            </button>
            <button type="button" disabled={busy} onClick={() => ask(true)} aria-label={`Remove ${title}`}>Remove</button>
          </>
        )}
      </div>
      {found && !told.install_over_api && (
        <details className={css.soft}>
          <summary>{found.newer ? `Update to ${found.newer}, or remove it` : "Update or remove it"}</summary>
          <Command text={command("update", name)} />
          <Command text={command("uninstall", name)} />
        </details>
      )}
      {asking && (
        <Dialog
          title={`Remove ${title}?`}
          onClose={() => ask(false)}
          actions={
            <>
              <button type="button" ref={firstToFocus} onClick={() => ask(false)}>Keep it</button>
              <button type="button" className="primary" onClick={() => (ask(false), begin("uninstall", { name }))}>Remove</button>
            </>
          }
        >
          <p>Its releases and its packages are deleted. Results and models stay; its queued jobs wait until it is installed again.</p>
        </Dialog>
      )}
    </>
  );
}

function From({ found }: { found: Package }) {
  const release = found.releases.find(({ id }) => id === found.active);
  if (!release) return null;
  const { source, ref, commit } = release;
  return <p className={css.soft}>Installed from {source}{ref && ` at ${ref}`}{commit && commit !== ref && ` (commit ${commit.slice(0, 12)})`}</p>;
}

function Back({ found, title, busy, begin }: { found: Package; title: string; busy: boolean; begin: Begin }) {
  const others = found.releases.filter(({ id }) => id !== found.active);
  const go = (to: string) => begin("rollback", { name: found.name, to });
  if (!others.length) return null;
  if (others.length === 1) {
    return <button type="button" disabled={busy} onClick={() => go(others[0].id)} aria-label={`Go to ${others[0].version} of ${title}`}>Go to {others[0].version}</button>;
  }
  return (
    <Menu label="Go to …" name={`Go to another release of ${title}`} disabled={busy}>
      {others.map(({ id, version }) => <button key={id} type="button" onClick={() => go(id)}>{version} <small>{id}</small></button>)}
    </Menu>
  );
}
