// Manage, Plugins: what each is, how it is, why it was refused, what it offers, how it is set.

import { ExternalLink, TriangleAlert } from "lucide-react";
import { type ReactNode, useState } from "react";

import { openForm } from "../../app/intents";
import { useServer } from "../../server/store";
import type { Announced, Plugin } from "../../server/types";
import { CopyButton } from "../../ui/CopyButton";
import { Empty } from "../../ui/Empty";
import { webAddress } from "../../ui/format";
import css from "./Manage.module.css";
import { Installing, Origin, Running } from "./Packages";
import { PluginSettings } from "./PluginSettings";
import { usePackages } from "./releases";
import { useSettings } from "./settings";

const ORDER = ["refused", "installing", "ready", "disabled"]; // what needs somebody comes first

export function Plugins() {
  const { settings, configure } = useSettings();
  const plugins = useServer((server) => server.plugins);
  const [words, search] = useState("");
  const packages = usePackages(words);
  const run = packages.told?.run;
  const sorted = [...plugins].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  return (
    <>
      {run && run.state !== "done" && <Running run={run} />}
      {!sorted.length && (
        <Empty title="There is no plugin">
          Put a plugin's folder into <code>plugins/</code>: it appears here within seconds, without a restart.
        </Empty>
      )}
      <ul className={css.cards}>
        {sorted.map((plugin) => (
          <Card key={plugin.name} plugin={plugin}>
            <Origin plugin={plugin} packages={packages} />
            {settings && Object.keys(plugin.settings.properties ?? {}).length > 0 && (
              <PluginSettings plugin={plugin} stored={settings.plugin_settings?.[plugin.name]} configure={configure} />
            )}
          </Card>
        ))}
      </ul>
      <Installing packages={packages} words={words} search={search} />
    </>
  );
}

function Card({ plugin, children }: { plugin: Plugin; children: ReactNode }) {
  const title = plugin.title ?? plugin.name;
  return (
    <li className={css.card} data-status={plugin.status}>
      <header className={css.head}>
        <h2 title={plugin.name}>{title}</h2>
        {plugin.version && <span className={css.version}>{plugin.version}</span>}
        <Status status={plugin.status} />
      </header>
      {plugin.status === "refused" && <Refusal title={title} error={plugin.error ?? "It does not say why."} />}
      {plugin.status === "installing" && <p className={css.soft}>Its packages are being installed. The Log tells more.</p>}
      {plugin.description && <p>{plugin.description}</p>}
      <About plugin={plugin} />
      {plugin.notes.length > 0 && <Notes notes={plugin.notes} />}
      {plugin.jobs.length > 0 && <Jobs plugin={plugin.name} jobs={plugin.jobs} />}
      {children}
    </li>
  );
}

function Status({ status }: { status: Plugin["status"] }) {
  return <span className={css.status} data-status={status}>{status}</span>;
}

function Refusal({ title, error }: { title: string; error: string }) {
  return (
    <div className={css.refusal}>
      <p className={css.lead}>
        <TriangleAlert size={16} aria-hidden="true" />
        <span>It was refused; the others go on. Mend its files, and it is read again.</span>
        <CopyButton text={error} what={`the error of ${title}`} />
      </p>
      <pre tabIndex={0} aria-label={`Error of ${title}`}>{error}</pre>
    </div>
  );
}

function About({ plugin }: { plugin: Plugin }) {
  const home = webAddress(plugin.homepage);
  const said = [plugin.name, plugin.author, plugin.licence].filter(Boolean);
  return (
    <p className={css.soft}>
      {said.join(" · ")}
      {home && (
        <>
          {" · "}
          <a href={home} target="_blank" rel="noreferrer">Homepage <ExternalLink size={12} aria-hidden="true" /></a>
        </>
      )}
    </p>
  );
}

function Notes({ notes }: { notes: string[] }) {
  return (
    <ul className={css.notes} aria-label="Notes">
      {notes.map((note) => <li key={note}>{note}</li>)}
    </ul>
  );
}

function Jobs({ plugin, jobs }: { plugin: string; jobs: Announced[] }) {
  const asked = jobs.filter(({ light }) => !light);
  const light = jobs.filter((job) => job.light);
  return (
    <div className={css.jobs}>
      {asked.map(({ name, help }) => (
        <button key={name} type="button" title={help} onClick={() => openForm(`${plugin}.${name}`)}>{name}</button>
      ))}
      {light.length > 0 && (
        <span className={css.soft} title="Answered at once, for forms and other programs">
          and for forms: {light.map(({ name }) => name).join(", ")}
        </span>
      )}
    </div>
  );
}
