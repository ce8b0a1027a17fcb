// The frame around all screens: navigation, how the connection is, what there is to say.

import { Brush, GalleryVerticalEnd, ListVideo, Settings2, Waypoints, WandSparkles } from "lucide-react";
import { Suspense, useEffect, useRef } from "react";
import { Link, Route, Router, Switch, useLocation } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";

import { Create } from "../screens/create/Create";
import { useServer } from "../server/store";
import { Empty } from "../ui/Empty";
import { ConnectionLine } from "./ConnectionLine";
import { DropAnywhere } from "./DropAnywhere";
import { Guarded } from "./Guarded";
import { useKeys } from "./keys";
import { NoticeStack } from "./NoticeStack";
import { Connect, Draw, Manage, Results, Review, Watch } from "./screens";
import css from "./Shell.module.css";
import { Shortcuts } from "./Shortcuts";
import { ThemeSwitch } from "./ThemeSwitch";

const HEADING_MS = 3000; // as long as a screen may take to come

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
        <SkipLink />
        <Navigation />
        <div className={css.body}>
          <ConnectionLine />
          <Screen />
        </div>
        <DropAnywhere />
        <NoticeStack />
        <Shortcuts />
      </div>
    </Router>
  );
}

const firstPart = (location: string): string => `/${location.split("/")[1] ?? ""}`;

function Screen() {
  const [location] = useLocation();
  const first = firstPart(location);
  const main = useRef<HTMLElement>(null);
  const before = useRef(first);
  useEffect(() => {
    if (before.current === first) return undefined;
    before.current = first;
    return focusHeading(main.current!);
  }, [first]);
  return (
    <main className={css.main} id="main" tabIndex={-1} ref={main}>
      <Guarded key={first}>
        <Suspense fallback={<Empty title="One moment …" />}>
          <Switch>
            <Route path="/" component={Create} />
            <Route path="/watch" component={Watch} />
            <Route path="/results/review/:job" component={Review} />
            <Route path="/results/:id?" component={Results} />
            <Route path="/draw/:id?" component={Draw} />
            <Route path="/connect/:id?" component={Connect} />
            <Route path="/manage/:part?/:id?" component={Manage} />
            <Route>
              <Empty title="There is no such screen">Choose one at the side.</Empty>
            </Route>
          </Switch>
        </Suspense>
      </Guarded>
    </main>
  );
}

/** Moves the focus to where a new screen begins, as a new page would; not if it has put it somewhere itself. */
function focusHeading(main: HTMLElement): () => void {
  const began = Date.now();
  let frame = 0;
  const look = () => {
    const heading = main.querySelector<HTMLElement>("h1");
    if (main.contains(document.activeElement) && document.activeElement !== main) return;
    if (!heading && Date.now() - began < HEADING_MS) {
      frame = requestAnimationFrame(look);
      return;
    }
    if (heading) heading.tabIndex = -1;
    (heading ?? main).focus();
  };
  frame = requestAnimationFrame(look);
  return () => cancelAnimationFrame(frame);
}

/** The address is the router's, so this cannot be a link to an anchor. */
function SkipLink() {
  return (
    <button type="button" className={css.skip} onClick={() => document.getElementById("main")!.focus()}>
      Skip to the content
    </button>
  );
}

function Navigation() {
  const [location, navigate] = useLocation();
  const running = useServer(({ jobs }) => Object.values(jobs).filter(({ state }) => state === "running").length);
  const first = firstPart(location);
  useKeys(
    Object.fromEntries(SCREENS.map(({ path, name }, at) => [`alt+${at + 1}`, [`Go to ${name}`, () => navigate(path)]])),
    "Everywhere",
  );
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
      <ThemeSwitch className={css.theme} />
    </nav>
  );
}
