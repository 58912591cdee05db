// Sites whose tables differ from what the model says of its columns: the job does not go on with them, and they are named.
import { useResource } from "../hooks.js";

const where = ({ role, column }) => [role, column && `column ${column}`].filter(Boolean).join(", ");

export const Differs = ({ job }) => {
  const told = /differ from the model/.test(job.reason || "");
  const { data } = useResource(told ? `/jobs/${job.id}/tasks` : null);
  const found = new Map();
  for (const task of data?.items || []) if (task.failure?.kind === "schema") found.set(task.site, task.failure);
  if (found.size === 0) return null;
  return (
    <p class="reason paused">
      Not as the other sites agreed: {[...found].map(([site, failure]) => `${site} (${where(failure) || "its table"})`).join("; ")}.
      What was agreed is with the job’s <a href={`#/jobs/${job.id}/models`}>models</a>, “Look into it”; the site’s own log names the column and says what would be right.
    </p>
  );
};
