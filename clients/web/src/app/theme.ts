// Dark or light: as the system has it, until somebody chooses.

import { create } from "zustand";

import { memorise, remembered } from "../server/memory";

export type Theme = "system" | "light" | "dark";

export const useTheme = create<{ theme: Theme }>(() => ({
  theme: (remembered("theme") as Theme | null) ?? "system",
}));

export function applyTheme(theme: Theme = useTheme.getState().theme): void {
  memorise("theme", theme);
  document.documentElement.dataset.theme = theme;
  useTheme.setState({ theme });
}
