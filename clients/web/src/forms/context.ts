// What every field of a form may ask: which job it is, all values, what the server has against them.

import { createContext, useContext } from "react";

import type { JobType, Values } from "../server/types";

interface FormAround {
  job: JobType;
  /** Given values and defaults. */
  values: Values;
  /** Changes several values at once. */
  change: (values: Values) => void;
  /** What is wrong, by the id of the field. */
  problems: Record<string, string>;
  /** The beginning of the ids of this form's fields. */
  prefix: string;
}

export const FormContext = createContext<FormAround>(null!);
export const useForm = (): FormAround => useContext(FormContext);
