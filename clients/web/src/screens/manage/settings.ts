// What the admin has set: read from the server, changed by `configure`, read anew when plugins change.

import { useEffect, useState } from "react";

import { complain } from "../../app/notices";
import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { Override, Values } from "../../server/types";

type ByParameter = Record<string, Record<string, Override>>;

export interface Settings {
  /** The admin's own, by plugin.job and parameter. */
  overrides: ByParameter;
  /** The plugins' own, of all parameters. */
  declared: ByParameter;
  /** By plugin; only the admin is told these, and where they are. */
  plugin_settings?: Record<string, Values>;
  file?: string;
}

export interface Changes {
  overrides?: Record<string, Record<string, Override | null> | null>;
  plugin_settings?: Record<string, Values>;
}

export function useSettings(): { settings?: Settings; configure: (changes: Changes) => Promise<void> } {
  const online = useServer(({ connection }) => connection.state === "online");
  const plugins = useServer((server) => server.plugins);
  const [settings, setSettings] = useState<Settings>();
  useEffect(() => {
    if (online) call<Settings>("settings").then(setSettings, complain);
  }, [online, plugins]);
  return { settings, configure: async (changes) => setSettings(await call<Settings>("configure", changes)) };
}
