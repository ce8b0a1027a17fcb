// Dark or light: as the system has it, until somebody chooses.

export type Theme = "system" | "light" | "dark";

export const theme = (): Theme => (localStorage.getItem("theme") as Theme | null) ?? "system";

export function applyTheme(chosen: Theme = theme()): void {
  localStorage.setItem("theme", chosen);
  document.documentElement.dataset.theme = chosen;
}
