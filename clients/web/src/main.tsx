// Where the page begins.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Guarded } from "./app/Guarded";
import { Shell } from "./app/Shell";
import { begin } from "./server/store";
import { applyTheme } from "./app/theme";
import { keepTitle } from "./app/title";

applyTheme();
begin();
keepTitle();
// What keeps a screen from being shown is an error like one that nothing catches: whoever looks for errors sees it.
createRoot(document.getElementById("root")!, { onCaughtError: reportError }).render(
  <StrictMode>
    <Guarded>
      <Shell />
    </Guarded>
  </StrictMode>,
);
