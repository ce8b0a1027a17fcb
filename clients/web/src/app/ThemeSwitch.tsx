// Turns dark into light and back; until somebody does, the system decides.

import { Moon, Sun } from "lucide-react";

import { applyTheme, useTheme } from "./theme";

export function ThemeSwitch({ className }: { className?: string }) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const chosen = useTheme((state) => state.theme);
  const isDark = chosen === "dark" || (chosen === "system" && dark);
  const other = isDark ? "light" : "dark";
  const Icon = isDark ? Sun : Moon;
  return (
    <button type="button" className={className} onClick={() => applyTheme(other)} aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`}>
      <Icon size={20} aria-hidden="true" />
      <span aria-hidden="true">Theme</span>
    </button>
  );
}
