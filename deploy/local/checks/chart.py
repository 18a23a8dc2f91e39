"""Lints a chart, renders it, validates every manifest against Kubernetes' schemas, and prints them as a JSON array.

    python chart.py CHART VALUES.yaml
"""

import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml

chart, values = sys.argv[1:]
with open(values, encoding="utf-8") as file:
    values = yaml.safe_load(file)

try:
    problems = [message for message in helm.lint(chart, values=values)["messages"] if message["severity"] > 1]
    if problems:
        sys.exit(json.dumps(problems))
    with helm.Chart.load(chart) as loaded:
        rendered = loaded.render(values=values, name="orchestration", namespace="orchestration")
except helm.HelmError as error:
    sys.exit(str(error))

rendered.pop("orchestration/templates/NOTES.txt")
texts = [text for _, text in sorted(rendered.items())]
manifests = [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]
for manifest in manifests:
    # The schemas of Kubernetes lack those of operators and of the Gateway API, which manifests/validate.mjs has.
    if not manifest["apiVersion"].startswith(("monitoring.coreos.com/", "gateway.networking.k8s.io/")):
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(manifest, version, strict=True)
print(json.dumps(manifests))
