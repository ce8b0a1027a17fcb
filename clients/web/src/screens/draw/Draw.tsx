// The Draw screen: parts of a picture are painted over to be redrawn, or its frame is dragged to where it shall grow.

import { ImagePlus } from "lucide-react";
import { useEffect, useMemo, useState } from "react";
import { useLocation } from "wouter";

import { openPainter, setDraft, useForms } from "../../app/intents";
import { recall } from "../../forms/remembering";
import { call, sentence } from "../../server/client";
import { UNFINISHED, useServer } from "../../server/store";
import type { ArtifactRecord, ErrorBody, JobRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { pictureUrl } from "../../ui/pictures";
import css from "./Draw.module.css";
import { carryMask, NOTHING, openEasel, setMade, useMade, type Easel } from "./easel";
import { Frame } from "./Frame";
import { growthOf, NO_GROWTH, paintJobs, SIDES, takenOver, valueOf, type Growth, type PaintJob } from "./jobs";
import type { Look } from "./overlay";
import { Panel } from "./Panel";
import { Start, useArrivals } from "./Start";
import { Stage } from "./Stage";
import { Strip, useResults } from "./Strip";
import { Toolbar, useStep } from "./Toolbar";
import { COLOURS, setTools, useTools } from "./tools";
import { toScreen, type View } from "./view";

let onEasel: string | null = null; // the picture that one comes back to

export default function Draw({ params: { id } }: { params: { id?: string } }) {
  const catalogue = useServer((server) => server.catalogue);
  const jobs = useMemo(() => paintJobs(catalogue), [catalogue]);
  const arrivals = useArrivals();
  const [, navigate] = useLocation();
  useEffect(() => {
    if (id) onEasel = id;
    else if (onEasel) navigate(`/draw/${onEasel}`, { replace: true });
  }, [id, navigate]);
  const chooseOther = () => {
    onEasel = null;
    navigate("/draw");
  };
  if (!jobs.length) return <Empty title="No job takes a picture to draw on">Plugins with such jobs appear here as soon as they are ready.</Empty>;
  return (
    <div className={css.screen} {...arrivals}>
      {id ? <OnEasel key={id} id={id} jobs={jobs} chooseOther={chooseOther} /> : <Start />}
    </div>
  );
}

/** Opens the picture. */
function OnEasel({ id, ...rest }: { id: string } & Omit<StudioProps, "easel">) {
  const [easel, setEasel] = useState<Easel | ErrorBody | null>(null);
  useEffect(() => {
    let isGone = false;
    const opening = openEasel(id);
    opening.then((opened) => isGone || setEasel(opened), (error) => isGone || setEasel(error));
    return () => {
      isGone = true;
      opening.then(({ bitmap }) => bitmap.close(), () => undefined); // it is large
    };
  }, [id]);
  if (!easel) return <Empty title="Opening the picture …" />;
  if (!("mask" in easel)) {
    return <Empty title="This picture cannot be opened"><p>{sentence(easel)}</p><button type="button" onClick={rest.chooseOther}>Choose another one</button></Empty>;
  }
  return <Studio easel={easel} {...rest} />;
}

interface StudioProps {
  easel: Easel;
  jobs: PaintJob[];
  chooseOther: () => void;
}

function Studio({ easel, jobs, chooseOther }: StudioProps) {
  const { artifact, bitmap } = easel;
  const full = useTools((tools) => tools.job);
  const chosen = jobs.find(({ job }) => job.full === full) ?? jobs[0];
  const { job } = chosen;
  const params = useForms(({ drafts }) => drafts[job.full]?.params) ?? {};
  const made = useMade((all) => all[artifact.id]) ?? NOTHING;
  const results = useResults(made);
  const [before, compare] = useState(false);
  useFirstDraft(chosen, artifact);
  useShowNew(artifact.id, results);

  const hasFrame = SIDES.some((side) => chosen.sides[side]);
  const growth = hasFrame ? made.growth : NO_GROWTH;
  const grow = (change: Partial<Growth>) => setMade(artifact.id, (now) => ({ growth: { ...now.growth, ...change } }));
  const shown = before ? undefined : results.find(({ id }) => id === made.shown);
  const selected = results.find(({ id }) => id === made.shown);
  const running = useRunning(made.jobs);
  const look = useLook(chosen, params, easel);
  const blur = valueOf(job, params, chosen.blur) as number | undefined;
  const area = { left: -growth.left, top: -growth.up, right: bitmap.width + growth.right, bottom: bitmap.height + growth.down };
  const looksAway = Boolean(shown) || (before && Boolean(selected));
  const choose = (wanted: string) => {
    setTools({ job: wanted });
    setMade(artifact.id, () => ({ shown: null })); // what it is done to
  };
  const goOn = (result: ArtifactRecord, withMask: boolean) => {
    if (withMask) carryMask(easel, result.id);
    openPainter(result);
  };
  return (
    <div className={css.studio}>
      <h1 className="hidden-text">Draw on a picture</h1>
      <div className={css.easel}>
        {chosen.mask && <Toolbar easel={easel} blur={blur} />}
        <div className={css.canvas}>
          <Stage
            easel={easel} paints={Boolean(chosen.mask)} hidesMask={!chosen.mask || looksAway || Boolean(running?.preview)} look={look} area={area}
            margin={hasFrame ? 220 : 24} fits={job.full} onPaint={() => made.shown && setMade(artifact.id, () => ({ shown: null }))}
          >
            {(view) => (
              <>
                {shown && <Over url={pictureUrl(shown)} view={view} easel={easel} growth={growthFor(shown)} name="Result" />}
                {running?.preview && !shown && !before && (
                  <Over url={running.preview} view={view} easel={easel} growth={running.growth(chosen)} aside={running.isPart(jobs)} name="Preview" />
                )}
                {hasFrame && !shown && <Frame of={chosen} view={view} width={bitmap.width} height={bitmap.height} growth={growth} onChange={grow} />}
              </>
            )}
          </Stage>
          <button type="button" className={css.other} onClick={chooseOther} aria-label="Another picture" title="Another picture">
            <ImagePlus size={18} aria-hidden="true" />
          </button>
          <Hint easel={easel} chosen={chosen} growth={growth} isQuiet={made.jobs.length > 0} />
          {running && <progress className={css.progress} aria-label="Progress" value={running.share} />}
        </div>
        <Strip
          easel={easel} made={made} results={results} shown={selected} goOn={goOn} compare={compare}
          mayCarry={selected !== undefined && isSameSize(selected, easel)}
        />
      </div>
      <Panel easel={easel} jobs={jobs} chosen={chosen} choose={choose} growth={growth} grow={grow} />
    </div>
  );

  /** How a result lies around the picture: as the job that made it was told. */
  function growthFor(result: ArtifactRecord): Growth {
    const record = useServer.getState().jobs[result.job ?? ""];
    const by = jobs.find((each) => each.job.full === record?.name);
    return by && record ? growthOf(by, record.params) : NO_GROWTH;
  }
}

const isSameSize = ({ facts }: ArtifactRecord, { bitmap }: Easel): boolean =>
  facts.width === bitmap.width && facts.height === bitmap.height;

/** How the mask is shown: as it is, or as the job will take it. */
function useLook({ job, blur, invert }: PaintJob, params: Record<string, unknown>, easel: Easel): Look {
  const { color, softened } = useTools();
  const sigma = softened ? Number(valueOf(job, params, blur) ?? 0) : 0;
  return { color: COLOURS[color ?? easel.color], blur: sigma, inverted: Boolean(valueOf(job, params, invert)) };
}

/** A form that nobody has touched begins with the texts and models of the job that made the picture. */
function useFirstDraft({ job }: PaintJob, { job: maker }: ArtifactRecord): void {
  useEffect(() => {
    if (useForms.getState().drafts[job.full]) return;
    if (!maker) return void recall(job);
    call<{ job: JobRecord }>("job", { id: maker }).then(
      ({ job: record }) => {
        const typed = useForms.getState().drafts[job.full]?.params; // meanwhile
        setDraft(job.full, { params: { ...takenOver(job, record.params), ...typed } });
      },
      () => recall(job), // its job is deleted
    );
  }, [job, maker]);
}

/** A result that has just come is shown. */
function useShowNew(picture: string, results: ArtifactRecord[]): void {
  const [known, setKnown] = useState(() => new Set(results.map(({ id }) => id)));
  const fresh = results.filter(({ id }) => !known.has(id));
  useEffect(() => {
    if (!fresh.length) return;
    setKnown(new Set(results.map(({ id }) => id)));
    setMade(picture, () => ({ shown: fresh[0].id }));
  });
}

/** The newest job of this picture that runs: how far it is, and what it shows. */
function useRunning(ids: string[]) {
  const jobs = useServer((server) => server.jobs);
  const id = ids.findLast((each) => jobs[each] && UNFINISHED.includes(jobs[each].state));
  const preview = useServer((server) => (id ? server.previews[id] : undefined));
  const progress = useServer((server) => (id ? server.progress[id] : undefined));
  if (!id) return null;
  const { name, params } = jobs[id];
  return {
    preview,
    share: progress && progress.step / Math.max(progress.total, 1),
    growth: (of: PaintJob) => (of.job.full === name ? growthOf(of, params) : NO_GROWTH),
    /** Whether it shows no more than the masked part. */
    isPart: (all: PaintJob[]) => {
      const of = all.find(({ job }) => job.full === name);
      return Boolean(of && valueOf(of.job, params, of.crop));
    },
  };
}

interface OverProps {
  url: string;
  view: View;
  easel: Easel;
  growth: Growth;
  name: string;
  aside?: boolean;
}

/** Another picture in the place of the one that is painted on; beside it where it shows something else. */
function Over({ url, view, easel: { bitmap }, growth, name, aside }: OverProps) {
  const [shape, setShape] = useState<{ url: string; ratio: number } | null>(null);
  const [wide, high] = [bitmap.width + growth.left + growth.right, bitmap.height + growth.up + growth.down];
  const ratio = shape?.url === url ? shape.ratio : null;
  const is = (other: number) => ratio !== null && Math.abs(Math.log(ratio / other)) < 0.03;
  const isGrown = is(wide / high);
  const fits = !aside && (ratio === null || isGrown || is(bitmap.width / bitmap.height));
  const corner = toScreen(view, isGrown ? { x: -growth.left, y: -growth.up } : { x: 0, y: 0 });
  const [width, height] = isGrown ? [wide, high] : [bitmap.width, bitmap.height];
  const place = { left: corner.x, top: corner.y, width: width * view.scale, height: height * view.scale };
  return (
    <img
      className={fits ? css.over : css.beside} style={fits ? place : undefined} src={url} alt={name} data-layer={name.toLowerCase()} draggable={false}
      onLoad={({ currentTarget }) => setShape({ url, ratio: currentTarget.naturalWidth / currentTarget.naturalHeight })}
    />
  );
}

/** Tells somebody who is here for the first time what to do. */
function Hint({ easel, chosen, growth, isQuiet }: { easel: Easel; chosen: PaintJob; growth: Growth; isQuiet: boolean }) {
  useStep(easel);
  if (isQuiet || easel.mask.canUndo || SIDES.some((side) => growth[side])) return null;
  return (
    <p className={css.hint}>
      {chosen.mask ? "Paint over what should change, say what should be there, and press Run." : "Drag an edge outwards, say what is there, and press Run."}
    </p>
  );
}

