// The form of a job's parameters, made from its announced JSON schema alone.

import Form from "@rjsf/core/lib/components/Form.js";
import type { RJSFSchema } from "@rjsf/utils";

import type { ErrorBody, JobType, Values } from "../server/types";
import { validator } from "./validator";

interface Props {
  job: JobType;
  params: Values;
  onChange: (params: Values) => void;
  /** What the server refused; shown at the fields it is about. */
  problem?: ErrorBody | null;
}

export function JobForm({ job, params, onChange }: Props) {
  return (
    <Form
      schema={job.params as RJSFSchema}
      formData={params}
      validator={validator}
      noValidate
      tagName="div"
      onChange={({ formData }) => onChange(formData as Values)}
    >
      <></>
    </Form>
  );
}
