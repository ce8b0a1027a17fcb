// The frame around all screens: navigation, how the connection is, what there is to say.

import { Brush, GalleryVerticalEnd, ListVideo, Moon, Settings2, Sun, Waypoints, WandSparkles } from "lucide-react";
import { lazy, Suspense, useState } from "react";
import { Link, Route, Router, Switch, useLocation } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";

import { Create } from "../screens/create/Create";
import { useServer } from "../server/store";
import { Empty } from "../ui/Empty";
import { ConnectionLine } from "./ConnectionLine";
import { NoticeStack } from "./NoticeStack";
import css from "./Shell.module.css";
import { Shortcuts } from "./Shortcuts";
import { applyTheme, theme } from "./theme";

const Watch = lazy(() => import("../screens/watch/Watch"));
const Results = lazy(() => import("../screens/results/Results"));
const Draw = lazy(() => import("../screens/draw/Draw"));
const Connect = lazy(() => import("../screens/connect/Connect"));
const Manage = lazy(() => import("../screens/manage/Manage"));

const SCREENS = [
  { path: "/", name: "Create", icon: WandSparkles },
  { path: "/watch", name: "Watch", icon: ListVideo },
  { path: "/results", name: "Results", icon: GalleryVerticalEnd },
  { path: "/draw", name: "Draw", icon: Brush },
  { path: "/connect", name: "Connect", icon: Waypoints },
  { path: "/manage", name: "Manage", icon: Settings2 },
];

export function Shell() {
  return (
    <Router hook={useHashLocation}>
      <div className={css.shell}>
        <Navigation />
        <div className={css.body}>
          <ConnectionLine />
          <main className={css.main} id="main" tabIndex={-1}>
            <Suspense fallback={<Empty title="One moment …" />}>
              <Switch>
                <Route path="/" component={Create} />
                <Route path="/watch" component={Watch} />
                <Route path="/results/:id?" component={Results} />
                <Route path="/draw/:id?" component={Draw} />
                <Route path="/connect" component={Connect} />
                <Route path="/manage/:part?/:id?" component={Manage} />
                <Route>
                  <Empty title="There is no such screen">Choose one at the side.</Empty>
                </Route>
              </Switch>
            </Suspense>
          </main>
        </div>
        <NoticeStack />
        <Shortcuts />
      </div>
    </Router>
  );
}

function Navigation() {
  const [location] = useLocation();
  const running = useServer(({ jobs }) => Object.values(jobs).filter(({ state }) => state === "running").length);
  const first = `/${location.split("/")[1] ?? ""}`;
  return (
    <nav className={css.nav} aria-label="Screens">
      <span className={css.mark} aria-hidden="true" />
      {SCREENS.map(({ path, name, icon: Icon }) => (
        <Link key={path} href={path} className={css.link} aria-current={first === path ? "page" : undefined}>
          <Icon size={20} aria-hidden="true" />
          <span>{name}</span>
          {path === "/watch" && running > 0 && <b className={css.count} aria-label={`${running} running`}>{running}</b>}
        </Link>
      ))}
      <ThemeSwitch />
    </nav>
  );
}

function ThemeSwitch() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const [chosen, choose] = useState(theme);
  const isDark = chosen === "dark" || (chosen === "system" && dark);
  const other = isDark ? "light" : "dark";
  const toggle = () => {
    applyTheme(other);
    choose(other);
  };
  return (
    <button type="button" className={css.theme} onClick={toggle} aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`}>
      {isDark ? <Sun size={18} aria-hidden="true" /> : <Moon size={18} aria-hidden="true" />}
    </button>
  );
}
