// Walks a search to its last page with fhir-kit-client and prints each entry's mode and name.
// Environment: BASE, TOKEN (may be empty). Arguments: resource type, parameters as JSON.
import { Client } from "fhir-kit-client";

const [resourceType, parameters] = process.argv.slice(2);
const { BASE, TOKEN } = process.env;
const client = new Client(TOKEN ? { baseUrl: BASE, bearerToken: TOKEN } : { baseUrl: BASE });
const found = [];
let page = await client.search({ resourceType, searchParams: JSON.parse(parameters) });
while (page) {
  for (const { resource, search } of page.entry ?? []) {
    found.push([search.mode, `${resource.resourceType}/${resource.id}`]);
  }
  page = await client.nextPage({ bundle: page });
}
console.log(JSON.stringify(found));
