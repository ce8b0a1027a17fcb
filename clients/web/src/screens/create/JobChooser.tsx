// Which job: all that plugins announce, to search; those of late first.

import { type KeyboardEvent, useRef, useState } from "react";

import { chooseJob } from "../../app/intents";
import { memorise, rememberedJson } from "../../server/memory";
import { useServer } from "../../server/store";
import type { JobType } from "../../server/types";
import { Dialog, firstToFocus } from "../../ui/Dialog";
import { hasWords, namedFirst, walk } from "../../ui/search";
import css from "./Head.module.css";

const MOST_RECENT = 4;
const recent = (): string[] => rememberedJson("recent jobs", []);

function remember(job: string): void {
  const others = recent().filter((name) => name !== job);
  memorise("recent jobs", JSON.stringify([job, ...others].slice(0, MOST_RECENT)));
}

export function JobChooser({ present, onClose }: { present: string; onClose: () => void }) {
  const catalogue = useServer((server) => server.catalogue);
  const [search, setSearch] = useState("");
  const list = useRef<HTMLDivElement>(null);
  const found = Object.values(catalogue).filter((job) => matches(job, search));
  const groups = grouped(namedFirst(found, ({ name }) => name, search), search ? [] : recent());
  const choose = (job: JobType) => {
    remember(present);
    remember(job.full);
    chooseJob(job.full);
    onClose();
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter" && event.target instanceof HTMLInputElement) {
      event.preventDefault(); // or the button that gets the focus back is pressed, too
      list.current!.querySelector("button")?.click();
    }
    if (event.key === "Enter") event.stopPropagation();
    walk(event, list.current!);
  };
  return (
    <Dialog title="Choose a job" onClose={onClose}>
      <div onKeyDown={press}>
        <input
          type="search" ref={firstToFocus} value={search} placeholder="Search" aria-label="Search jobs"
          onChange={({ target }) => setSearch(target.value)}
        />
        <div ref={list} className={css.list}>
          {groups.map(([title, jobs]) => (
            <section key={title} aria-label={title}>
              <h3>{title}</h3>
              {jobs.map((job) => (
                <button
                  key={job.full} type="button" className={css.entry} aria-current={job.full === present} onClick={() => choose(job)}
                >
                  <span>{job.name}</span>
                  <small>{job.help}</small>
                </button>
              ))}
            </section>
          ))}
          {!groups.length && <p>No job is like that.</p>}
        </div>
      </div>
    </Dialog>
  );
}

const matches = ({ full, help, title }: JobType, search: string): boolean =>
  hasWords(`${full} ${help} ${title}`, search);

function grouped(jobs: JobType[], first: string[]): [string, JobType[]][] {
  const late = first.map((name) => jobs.find(({ full }) => full === name)).filter((job) => job !== undefined);
  const groups = new Map<string, JobType[]>(late.length ? [["Used lately", late]] : []);
  for (const light of [false, true]) {
    for (const job of jobs.filter((each) => each.light === light)) {
      const title = light ? `${job.title}: answered at once` : job.title;
      groups.set(title, [...(groups.get(title) ?? []), job]);
    }
  }
  return [...groups];
}
