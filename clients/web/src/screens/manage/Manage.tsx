// The Manage screen: what the server is made of and how it is set, in parts with an address each.

import type { ComponentType } from "react";
import { Link } from "wouter";

import { Guarded } from "../../app/Guarded";
import { Empty } from "../../ui/Empty";
import { About } from "./About";
import { Defaults } from "./Defaults";
import { Devices } from "./Devices";
import { LogPane } from "./LogPane";
import css from "./Manage.module.css";
import { Models } from "./Models";
import { Plugins } from "./Plugins";

interface Part {
  name: string;
  title: string;
  show: ComponentType<{ id?: string }>;
}

const PARTS: Part[] = [
  { name: "plugins", title: "Plugins", show: Plugins },
  { name: "models", title: "Models", show: Models },
  { name: "defaults", title: "Defaults", show: Defaults },
  { name: "devices", title: "Devices", show: Devices },
  { name: "log", title: "Log", show: LogPane },
  { name: "about", title: "About", show: About },
];

export default function Manage({ params }: { params: { part?: string; id?: string } }) {
  const part = PARTS.find(({ name }) => name === (params.part ?? PARTS[0].name));
  return (
    <div className={css.manage}>
      <nav className={css.parts} aria-label="Parts of Manage">
        {PARTS.map(({ name, title }) => (
          <Link key={name} href={`/manage/${name}`} aria-current={name === part?.name ? "page" : undefined}>
            {title}
          </Link>
        ))}
      </nav>
      <div className={css.part}>
        <h1>{part?.title ?? "Manage"}</h1>
        {part ? <Guarded key={part.name}><part.show id={params.id} /></Guarded> : <Empty title="There is no such part">Choose one above.</Empty>}
      </div>
    </div>
  );
}
