// Walks a search page by page with fhir-kit-client, reads what it found, and prints what it saw.
// Environment: BASE, TOKEN. Argument: resource type.
import { Client } from "fhir-kit-client";

const [resourceType] = process.argv.slice(2);
const client = new Client({ baseUrl: process.env.BASE, bearerToken: process.env.TOKEN });

const statement = await client.capabilityStatement();
const ids = [];
let pages = 0;
let page = await client.search({ resourceType, searchParams: { _count: "2" } });
while (page) {
  pages += 1;
  ids.push(...(page.entry ?? []).map((entry) => entry.resource.id));
  page = await client.nextPage({ bundle: page });
}
const posted = await client.search({
  resourceType,
  searchParams: { _id: ids[0] },
  options: { postSearch: true },
});
const read = await client.read({ resourceType, id: ids[0] });
let missing = 0;
try {
  await client.read({ resourceType, id: "no-such-id" });
} catch (error) {
  missing = error.response?.status ?? -1;
}
console.log(
  JSON.stringify({
    fhirVersion: statement.fhirVersion,
    ids,
    pages,
    posted: (posted.entry ?? []).map((entry) => entry.resource.id),
    read: read.id,
    missing,
  }),
);
