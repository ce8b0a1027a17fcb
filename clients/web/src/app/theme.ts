// Dark or light: as the system has it, until somebody chooses.

import { create } from "zustand";

export type Theme = "system" | "light" | "dark";

export const useTheme = create<{ theme: Theme }>(() => ({
  theme: (localStorage.getItem("theme") as Theme | null) ?? "system",
}));

export function applyTheme(theme: Theme = useTheme.getState().theme): void {
  localStorage.setItem("theme", theme);
  document.documentElement.dataset.theme = theme;
  useTheme.setState({ theme });
}
