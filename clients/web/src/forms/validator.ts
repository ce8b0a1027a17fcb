// Checks values against a schema without compiling code, which the page's policy forbids. The server has the last word.

import { Validator } from "@cfworker/json-schema";
import type { RJSFSchema, ValidatorType } from "@rjsf/utils";

const valid = (schema: RJSFSchema, value: unknown): boolean =>
  new Validator(schema as never, "2020-12", true).validate(value ?? null).valid;

export const validator: ValidatorType = {
  isValid: (schema, value, root) => valid({ $defs: root.$defs, ...schema }, value),
  rawValidation: () => ({ errors: [] }),
  validateFormData: () => ({ errors: [], errorSchema: {} }),
};
