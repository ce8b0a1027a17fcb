// A job that failed: why, and what can be done.

import { complain } from "../../app/notices";
import { reuse } from "../../app/intents";
import { call, sentence } from "../../server/client";
import { merge } from "../../server/store";
import type { JobRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";

export function Failure({ job }: { job: JobRecord }) {
  const again = async () => {
    const reference = crypto.getRandomValues(new Uint32Array(4)).join("-");
    merge((await call("retry", { id: job.id, client_ref: reference })).job);
  };
  return (
    <Empty title={`${job.name.split(".")[1]} did not work`}>
      <p>{job.error ? sentence(job.error) : "It ended without a reason."}</p>
      <button type="button" onClick={() => void again().catch(complain)}>Try again</button>{" "}
      <button type="button" onClick={() => void reuse(job).catch(complain)}>Change its values</button>
    </Empty>
  );
}
