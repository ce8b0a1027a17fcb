// A job that failed: why, and what can be done.

import { reuse } from "../../app/intents";
import { retry } from "../../app/jobs";
import { complain } from "../../app/notices";
import { sentence } from "../../server/client";
import type { JobRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { jobTitle } from "../../ui/format";

export function Failure({ job }: { job: JobRecord }) {
  return (
    <Empty title={`${jobTitle(job.name)} did not work`}>
      <p>{job.error ? sentence(job.error) : "It ended without a reason."}</p>
      <button type="button" onClick={() => void retry(job.id)}>Try again</button>{" "}
      <button type="button" onClick={() => void reuse(job).catch(complain)}>Change its values</button>
    </Empty>
  );
}
