// How the connection is: silent while all is well, calm when it is not.

import { useServer } from "../server/store";
import css from "./ConnectionLine.module.css";

export function ConnectionLine() {
  const connection = useServer((server) => server.connection);
  const said = line(connection);
  return (
    <p className={css.line} role="status" data-state={connection.state} hidden={!said}>
      {said}
      {connection.state === "refused" && <a href="/">Unlock this page</a>}
    </p>
  );
}

function line(connection: ReturnType<typeof useServer.getState>["connection"]): string {
  if (connection.state === "lost") return "The connection is lost; trying again. Your jobs are safe.";
  if (connection.state === "refused") return `${connection.error.message} `;
  if (connection.state === "online" && connection.resync) return "Connected again; everything was read anew.";
  if (connection.state === "online" && connection.caughtUp !== undefined) {
    return `Connected again, caught up on ${connection.caughtUp} ${connection.caughtUp === 1 ? "event" : "events"}.`;
  }
  return "";
}
