// The one set of signs: Lucide (ISC licence), drawn as they come, so that the page loads nothing from elsewhere.
import {
  ArrowDown, ArrowUp, Ban, Building2, Check, ChevronLeft, ChevronRight, CircleAlert, CircleCheck, CircleHelp, CircleX, Clock, Copy, Download,
  Ellipsis, Info, LayoutDashboard, ListChecks, Pause, Play, Plus, ScrollText, Search, SkipForward, TriangleAlert, Users, X,
} from "lucide";

const SET = {
  up: ArrowUp, down: ArrowDown, aborted: Ban, sites: Building2, check: Check, earlier: ChevronLeft, later: ChevronRight, alert: CircleAlert,
  completed: CircleCheck, about: CircleHelp, failed: CircleX, queued: Clock, submitted: Clock, copy: Copy, download: Download, more: Ellipsis,
  info: Info, overview: LayoutDashboard, jobs: ListChecks, paused: Pause, running: Play, plus: Plus, audit: ScrollText, search: Search,
  skip: SkipForward, warn: TriangleAlert, people: Users, close: X,
};

// Beside words it is decoration; where it stands alone, whoever uses it gives the words.
export const Icon = ({ name, size = 16 }) => (
  <svg class="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    {(SET[name] || Ellipsis).map(([Tag, attributes], i) => <Tag key={i} {...attributes} />)}
  </svg>
);
