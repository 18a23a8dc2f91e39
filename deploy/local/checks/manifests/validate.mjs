// Validates the manifests of operators and of the Gateway API against the schemas of their types: required fields and
// the types of values. Reads a JSON array of manifests, prints that of the kinds that were validated, and fails at
// the first invalid one. Unknown fields are not found.
import { readFileSync } from "node:fs";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const validated = [];
for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  const kind = [HTTPRoute, PrometheusRule, ServiceMonitor].find((kind) => kind.is(manifest));
  if (!kind) throw new Error(`there is no schema of ${manifest.apiVersion} ${manifest.kind}`);
  new kind(manifest).validate();
  validated.push(manifest.kind);
}
console.log(JSON.stringify([...new Set(validated)].sort()));
