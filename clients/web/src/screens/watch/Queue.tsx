// What comes next, in the order in which it will run: a long list that can be reordered, by mouse, touch and keyboard.

import {
  type Announcements, closestCenter, DndContext, type DragEndEvent, KeyboardSensor, MouseSensor, TouchSensor, useSensor,
  useSensors,
} from "@dnd-kit/core";
import { arrayMove, SortableContext, sortableKeyboardCoordinates, verticalListSortingStrategy } from "@dnd-kit/sortable";
import { defaultRangeExtractor, type Range, useVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";

import { say } from "../../app/notices";
import { useServer } from "../../server/store";
import type { JobRecord } from "../../server/types";
import { moveBeside } from "../../app/jobs";
import { lane } from "./lists";
import { jobTitle } from "../../ui/format";
import css from "./Queue.module.css";
import { QueueRow } from "./QueueRow";


const ROW = 60; // pixels
const HELP = `To move a job, press space, then the arrow keys, then space again at its new place. Escape leaves it where it was.`;

interface Props {
  jobs: JobRecord[];
  /** How many there are besides, which the server has not listed. */
  more: number;
  selected: Set<string>;
  onSelect: (id: string, range: boolean) => void;
}

export function Queue({ jobs, more, selected, onSelect }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const [dragged, setDragged] = useState<string | null>(null);
  const moved = useRef(false);
  const virtual = useRows(list, jobs, dragged);
  const sensors = useSensors(
    useSensor(MouseSensor, { activationConstraint: { distance: 4 } }),
    useSensor(TouchSensor, { activationConstraint: { delay: 150, tolerance: 8 } }),
    useSensor(KeyboardSensor, { coordinateGetter: sortableKeyboardCoordinates }),
  );
  const drop = ({ active, over }: DragEndEvent) => {
    setDragged(null);
    if (over && over.id !== active.id) move(jobs, String(active.id), String(over.id));
  };
  return (
    <DndContext
      sensors={sensors}
      collisionDetection={closestCenter}
      accessibility={{ announcements: announcements(jobs, moved), screenReaderInstructions: { draggable: HELP } }}
      onDragStart={({ active }) => {
        moved.current = false;
        setDragged(String(active.id));
      }}
      onDragCancel={() => setDragged(null)}
      onDragEnd={drop}
    >
      <SortableContext items={jobs} strategy={verticalListSortingStrategy}>
        <ol ref={list} className={css.list} style={{ height: virtual.getTotalSize() }} aria-label="The queue">
          {virtual.getVirtualItems().map(({ index }) => (
            <QueueRow
              key={jobs[index].id} job={jobs[index]} place={index} places={jobs.length + more} top={index * ROW}
              selected={selected.has(jobs[index].id)} onSelect={onSelect}
            />
          ))}
        </ol>
      </SortableContext>
      {more > 0 && <p className={css.more}>and {more.toLocaleString()} more after these</p>}
    </DndContext>
  );
}

/** The rows in sight, and the one that is dragged. */
function useRows(list: React.RefObject<HTMLOListElement | null>, jobs: JobRecord[], dragged: string | null) {
  const [start, setStart] = useState(0); // of the list in what scrolls
  useLayoutEffect(() => {
    const main = document.getElementById("main")!;
    const top = list.current!.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop;
    if (Math.abs(top - start) > 1) setStart(top);
  });
  const at = jobs.findIndex(({ id }) => id === dragged);
  const virtual = useVirtualizer({
    count: jobs.length,
    getScrollElement: () => document.getElementById("main"),
    estimateSize: () => ROW,
    overscan: 8,
    scrollMargin: start,
    getItemKey: (index) => jobs[index].id,
    rangeExtractor: (range: Range) => {
      const seen = defaultRangeExtractor(range);
      return at < 0 || seen.includes(at) ? seen : [...seen, at].sort((a, b) => a - b);
    },
  });
  return virtual;
}

/** To the other's place; beside the nearest job of the same queue there, for each plugin has one of its own. */
function move(jobs: JobRecord[], id: string, over: string): void {
  const { catalogue } = useServer.getState();
  const of = (job: JobRecord) => lane(job, !!catalogue[job.name]?.program);
  const [from, to] = [id, over].map((each) => jobs.findIndex((job) => job.id === each));
  const own = of(jobs[from]);
  const after = arrayMove(jobs, from, to);
  const next = after.slice(to + 1).find((job) => of(job) === own);
  const previous = after.slice(0, to).findLast((job) => of(job) === own);
  const isSamePlace = jobs.slice(Math.min(from, to), Math.max(from, to) + 1).every((job) => job.id === id || of(job) !== own);
  if (isSamePlace) say("Each plugin has a queue of its own, and each priority its place in it: there it stays where it is.");
  else if (next && (to < from || !previous)) void moveBeside(id, next.id, true);
  else if (previous) void moveBeside(id, previous.id, false);
}

/** What a screen reader says. `moved` keeps that a job that was picked up has left its place. */
function announcements(jobs: JobRecord[], moved: { current: boolean }): Announcements {
  const place = (id: string | number) => jobs.findIndex((job) => job.id === id) + 1;
  const name = (id: string | number) => jobTitle(jobs.find((job) => job.id === id)?.name ?? "the job");
  return {
    onDragStart: ({ active }) => `Picked up ${name(active.id)}, which is number ${place(active.id)} of ${jobs.length}.`,
    onDragOver: ({ active, over }) => {
      moved.current ||= over !== null && over.id !== active.id;
      return over && moved.current ? `${name(active.id)} would be number ${place(over.id)} of ${jobs.length}.` : undefined;
    },
    onDragEnd: ({ active, over }) => over ? `${name(active.id)} is number ${place(over.id)} of ${jobs.length} now.` : undefined,
    onDragCancel: ({ active }) => `${name(active.id)} stays where it was.`,
  };
}
