// Where the page begins.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Shell } from "./app/Shell";
import { begin } from "./server/store";
import { applyTheme } from "./app/theme";
import { keepTitle } from "./app/title";

applyTheme();
begin();
keepTitle();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Shell />
  </StrictMode>,
);
