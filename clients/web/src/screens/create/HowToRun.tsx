// How a job is to be run: what is no part of the picture.

import type { JobType } from "../../server/types";
import css from "./Create.module.css";
import { type HowToRun as How, USUAL, useSubmitting } from "./submitting";

const PRIORITIES = { interactive: "before all others", normal: "in turn", batch: "when nothing else waits" };
const EMBEDDED = { full: "how it was made", minimal: "only its id", none: "nothing" };

export function HowToRun({ job }: { job: JobType }) {
  const how = useSubmitting((state) => state.how);
  if (job.light) return null;
  const change = (some: Partial<How>) => useSubmitting.setState({ how: { ...how, ...some } });
  const unusual = Object.keys(USUAL).filter((key) => how[key as keyof How] !== USUAL[key as keyof How]).length;
  return (
    <details className={css.how}>
      <summary>How to run{unusual > 0 && ` · ${unusual} changed`}</summary>
      <div>
        <label>
          When
          <select value={how.priority} onChange={({ target }) => change({ priority: target.value as How["priority"] })}>
            {Object.entries(PRIORITIES).map(([value, text]) => <option key={value} value={value}>{text}</option>)}
          </select>
        </label>
        <label>
          Written into the file
          <select
            value={how.embed_metadata} onChange={({ target }) => change({ embed_metadata: target.value as How["embed_metadata"] })}
          >
            {Object.entries(EMBEDDED).map(([value, text]) => <option key={value} value={value}>{text}</option>)}
          </select>
        </label>
        <label>
          <input type="checkbox" checked={how.hold} onChange={({ target }) => change({ hold: target.checked })} />
          Hold it until I release it
        </label>
        <label>
          <input type="checkbox" checked={how.fresh} onChange={({ target }) => change({ fresh: target.checked })} />
          Make it anew, even if it was made before
        </label>
      </div>
    </details>
  );
}
