// The Create screen: any job of any plugin, its form, and the way into the queue.

import { useForms, setDraft } from "../../app/intents";
import { complain, say } from "../../app/notices";
import { JobForm } from "../../forms/JobForm";
import { inputsToSend, JobInputs } from "../../forms/JobInputs";
import { toSend } from "../../forms/schema";
import { client } from "../../server/client";
import { useServer } from "../../server/store";
import { Empty } from "../../ui/Empty";

export function Create() {
  const catalogue = useServer((server) => server.catalogue);
  const chosen = useForms((forms) => forms.chosen);
  const job = (chosen && catalogue[chosen]) || Object.values(catalogue).find(({ light }) => !light);
  const draft = useForms(({ drafts }) => (job ? drafts[job.full] : undefined));
  if (!job) return <Empty title="No plugin is ready yet">Plugins appear here as soon as they are installed.</Empty>;
  const submit = () =>
    client.submit(job.full, toSend(job.params, draft?.params ?? {}), inputsToSend(job, draft?.inputs ?? {})).then(() => say("Queued."), complain);
  return (
    <div>
      <h1>{job.name}</h1>
      <JobInputs job={job} inputs={draft?.inputs ?? {}} onChange={(inputs) => setDraft(job.full, { inputs })} />
      <JobForm job={job} params={draft?.params ?? {}} onChange={(params) => setDraft(job.full, { params })} />
      <button type="button" className="primary" onClick={submit}>Run</button>
    </div>
  );
}
