// What a program waits for a person for: its results one after the other, each with one key; then it goes on.

import { ArrowLeft, Check, ThumbsDown, ThumbsUp, Undo2 } from "lucide-react";
import { useEffect, useRef } from "react";
import { Link, useParams } from "wouter";

import { useKeys } from "../../app/keys";
import { useWhole } from "../../app/programs";
import { sentence } from "../../server/client";
import { UNFINISHED, useServer } from "../../server/store";
import type { ArtifactRecord, ErrorBody, JobRecord } from "../../server/types";
import { Empty } from "../../ui/Empty";
import { jobTitle } from "../../ui/format";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import css from "./Review.module.css";
import { type Reviewing, useReviewing } from "./reviewing";
import { Stage } from "./Stage";
import { FITTED, useView, zoomed } from "./view";
import { Other } from "./Viewer";
import { aboutOf } from "./words";

export default function Review() {
  const { job: id } = useParams();
  const round = useReviewing(id!);
  const { artifacts, job, problem, shown, complete, judge, undo, go, send, at, verdicts, told } = round;
  const { view, setView } = useView();
  useEffect(() => setView(() => FITTED), [shown?.id]);
  const yes = () => judge("picked");
  const no = () => judge("rejected");
  useKeys(
    {
      y: ["Pick, and go on", yes], p: ["Pick, and go on", yes], n: ["Reject, and go on", no], x: ["Reject, and go on", no],
      u: ["Undo the last answer", undo], arrowleft: ["The one before", () => go(at - 1)], arrowright: ["The next one", () => go(at + 1)],
      "+": ["Larger", () => setView(zoomed(1.25))], "-": ["Smaller", () => setView(zoomed(0.8))], "0": ["Fit", () => setView(() => FITTED)],
      ...(complete && { enter: ["Let the job go on", send] as [string, () => void] }),
    },
    "Review",
  );
  const open = artifacts.filter((each) => each.review === "new" && !verdicts[each.id]).length;
  return (
    <section className={css.screen} aria-label="Review">
      <header className={css.bar}>
        <Link href="/watch" className={css.back} aria-label="Back to Watch" title="Back to Watch"><ArrowLeft size={20} aria-hidden="true" /></Link>
        <h1>{job ? `Review for ${jobTitle(job.name)}` : "Review"}</h1>
        {artifacts.length > 0 && <span role="status">{open ? `${open} of ${artifacts.length} to go` : `all ${artifacts.length} are answered`}</span>}
        <button type="button" onClick={undo} disabled={!told.length || goesOn(round)} title="Undo (U)"><Undo2 size={16} aria-hidden="true" /> Undo</button>
      </header>
      {goesOn(round) || !shown ? <GoesOn job={job} problem={problem} /> : (
        <>
          <div className={css.picture}>
            {isPicture(shown) ? <Stage artifact={shown} view={view} setView={setView} onSwipe={(by) => go(at + by)} /> : <Other artifact={shown} />}
          </div>
          <p className={css.about}>{shown.name ?? aboutOf(shown)}</p>
          {complete ? <Complete round={round} /> : (
            <div className={css.verdicts}>
              <button type="button" className={css.no} onClick={no} aria-pressed={verdictOf(shown, round) === "rejected"}><ThumbsDown size={18} aria-hidden="true" /> Reject <kbd>N</kbd></button>
              <button type="button" className={css.yes} onClick={yes} aria-pressed={verdictOf(shown, round) === "picked"}><ThumbsUp size={18} aria-hidden="true" /> Pick <kbd>Y</kbd></button>
            </div>
          )}
          <Strip round={round} />
        </>
      )}
    </section>
  );
}

const verdictOf = (artifact: ArtifactRecord, { verdicts }: Reviewing) =>
  verdicts[artifact.id] ?? (artifact.review === "new" ? undefined : artifact.review);

/** Everything is sent. */
const goesOn = ({ artifacts }: Reviewing): boolean => artifacts.length > 0 && artifacts.every(({ review }) => review !== "new");

function Complete({ round }: { round: Reviewing }) {
  const picked = round.artifacts.filter((each) => verdictOf(each, round) === "picked").length;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <div className={css.verdicts}>
      <p role="status">{picked} picked, {round.artifacts.length - picked} rejected. Once it goes on, this counts.</p>
      <button type="button" className="primary" ref={button} onClick={round.send}><Check size={18} aria-hidden="true" /> Go on <kbd>Enter</kbd></button>
    </div>
  );
}

function Strip({ round }: { round: Reviewing }) {
  const here = useRef<HTMLButtonElement>(null);
  useEffect(() => void here.current?.scrollIntoView({ block: "nearest", inline: "nearest" }), [round.at]);
  return (
    <ul className={css.strip} aria-label="To be reviewed">
      {round.artifacts.map((each, place) => (
        <li key={each.id}>
          <button
            type="button" ref={place === round.at ? here : undefined} aria-current={place === round.at || undefined} data-verdict={verdictOf(each, round)}
            aria-label={`Number ${place + 1}${verdictOf(each, round) ? `, ${verdictOf(each, round)}` : ""}`} onClick={() => round.go(place)}
          >
            {isPicture(each) ? <img src={thumbnailUrl(each, 192)} alt="" loading="lazy" /> : <span>{each.kind}</span>}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Nothing is to be answered now: it works on, waits for something else, or has ended. */
function GoesOn({ job, problem }: { job?: JobRecord; problem?: ErrorBody }) {
  const now = useServer(({ jobs }) => (job ? jobs[job.id] ?? job : undefined));
  if (problem) return <Empty title="This cannot be reviewed">{sentence(problem)}</Empty>;
  if (!now) return <Empty title="One moment …" />;
  if (!UNFINISHED.includes(now.state)) {
    return <Empty title={now.state === "done" ? "It is done" : `It is ${now.state}`}><Link href="/results">To the results</Link></Empty>;
  }
  return <Working job={now} />;
}

function Working({ job }: { job: JobRecord }) {
  const { ended, total } = useWhole(job);
  return (
    <Empty title="It goes on">
      {total > 0 && <p><progress max={1} value={ended / total} aria-label="Progress" /> {ended} of {total} parts</p>}
      <p>When it wants you to look at more, that shows here.</p>
      <Link href="/watch">To Watch</Link>
    </Empty>
  );
}
