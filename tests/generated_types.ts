// What .ci/clients has tsc check: the types that openapi-typescript makes of the document.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./openapi";

type Backfill = components["schemas"]["Backfill"];
type Update = components["schemas"]["BackfillUpdate"];
type Body = operations["update_backfill"]["requestBody"]["content"]["application/json"];
type Saved =
  operations["update_backfill"]["responses"][200]["content"]["application/json"];
type Put = paths["/pipelines/{pipeline_uuid}/backfills/{backfill_id}"]["put"];

const status: components["schemas"]["Status"] = "cancelled";
const update: Update = {
  name: "new_name",
  start_datetime: "2023-07-17 23:56:05",
  end_datetime: null,
  interval_type: "day",
  interval_units: 1,
  settings: { pipeline_run_limit: 3, order: "backwards", yours: true },
  variables: { region: "north" },
  status,
};
const body: Body = { backfill: update };
const query: Put["parameters"]["query"] = { dry_run: true };
const answer = (saved: Saved): [Backfill["status"], number | undefined] => [
  saved.backfill.status,
  saved.metadata?.plan.add,
];

// @ts-expect-error: no such status
const wrongStatus: Update = { status: "done" };
// @ts-expect-error: no such attribute
const wrongKey: Update = { nmae: "July" };
// @ts-expect-error: an id is a number here
const wrongId: Backfill["id"] = "6";

// As docs/clients.md has it.
const client = createClient<paths>({
  baseUrl: "http://localhost:6789/api",
  headers: { "X-API-KEY": "demo-key", "OAUTH-TOKEN": "demo-token" },
});
const start = async (): Promise<string> => {
  const { data, error } = await client.PUT(
    "/pipelines/{pipeline_uuid}/backfills/{backfill_id}",
    {
      params: {
        path: { pipeline_uuid: "weather", backfill_id: 7 },
        query: { dry_run: true },
      },
      body: { backfill: { status: "initial" } },
    },
  );
  return error ? error.error.message : `${data.metadata?.plan.add} runs`;
};

export { answer, body, query, start, wrongId, wrongKey, wrongStatus };
