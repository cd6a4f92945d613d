"""Reads OpenMetrics from stdin with the strict parser of Prometheus' own client library. Exit code 1 if it is refused."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
print(f"{len(families)} families, {sum(len(family.samples) for family in families)} samples of OpenMetrics")
