// Whether this person may change the server, and what is said to who may not.

import { useServer } from "../server/store";

export const useAdmin = (): boolean => useServer(({ hello }) => hello?.rights.includes("admin") ?? false);

/** Nothing for the admin; also not before the server has said who we are. */
export const useWhyNot = (): string | null =>
  useServer(({ hello }) =>
    !hello || hello.rights.includes("admin")
      ? null
      : `You are here as “${hello.owner}”. Only the server's owner changes this, with the token that the server printed.`,
  );
