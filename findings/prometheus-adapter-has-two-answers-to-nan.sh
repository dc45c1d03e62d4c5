#!/usr/bin/env bash
# prometheus-adapter 0.12.0: what Prometheus answers with NaN is 0 as a custom metric, and about -9.2e15 as an external one.
#
# A mean time, `rate(x_sum[1m]) / rate(x_count[1m])`, is 0/0 where nobody asks: NaN, a value of Prometheus as any other.
# Expected: no value, so that an autoscaler leaves the replicas alone (our documentation said so once); and then, once we
# had read that a custom metric is 0, the same of an external metric.
# Seen (2026-11-30, Go 1.26, amd64): the custom metric is 0; the external one -9223372036854775808m, for NaN becomes an
# integer there as the processor happens to do it (Go's specification leaves that open). Both ask for the fewest replicas.
#
#   findings/prometheus-adapter-has-two-answers-to-nan.sh        needs Go
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	prom "sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	custom "sigs.k8s.io/prometheus-adapter/pkg/custom-provider"
	external "sigs.k8s.io/prometheus-adapter/pkg/external-provider"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

const rule = `
- seriesQuery: wait_seconds_sum
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: mean_wait}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
`
const labelsOfAll = `{"__name__": "wait_seconds_sum", "namespace": "default", "pod": "server"}`

// Prometheus' HTTP API, as far as the adapter asks it.
func prometheus(value string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		data := "[" + labelsOfAll + "]"
		if strings.HasSuffix(r.URL.Path, "/query") {
			data = `{"resultType": "vector", "result": [{"metric": ` + labelsOfAll + `, "value": [1, "` + value + `"]}]}`
		}
		fmt.Fprintf(w, `{"status": "success", "data": %s}`, data)
	}))
}

func must[T any](found T, err error) T {
	if err != nil {
		panic(err)
	}
	return found
}

// both is what a custom and an external metric are where Prometheus answers so.
func both(value string) (string, string) {
	server := prometheus(value)
	defer server.Close()
	client := prom.NewClient(server.Client(), must(url.Parse(server.URL)), nil, http.MethodGet)
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Pod", "Namespace"} {
		mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: kind}, meta.RESTScopeNamespace)
	}
	rules := must(config.FromYAML([]byte("rules:" + rule + "externalRules:" + rule)))
	end := make(chan struct{})
	defer close(end)

	ofPods, lister := custom.NewPrometheusProvider(
		mapper, nil, client, must(naming.NamersFromConfig(rules.Rules, mapper)), time.Second, time.Hour)
	lister.RunUntil(end)
	others, otherLister := external.NewExternalPrometheusProvider(
		client, must(naming.NamersFromConfig(rules.ExternalRules, mapper)), time.Second, time.Hour)
	otherLister.RunUntil(end)
	for len(ofPods.ListAllMetrics()) == 0 || len(others.ListAllExternalMetrics()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	one := must(ofPods.GetMetricByName(context.Background(), types.NamespacedName{Namespace: "default", Name: "server"},
		provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "mean_wait"},
		labels.Everything()))
	all := must(others.GetExternalMetric(context.Background(), "default", labels.Everything(),
		provider.ExternalMetricInfo{Metric: "mean_wait"}))
	return one.Value.String(), all.Items[0].Value.String()
}

func main() {
	for _, value := range []string{"0.25", "NaN"} {
		one, other := both(value)
		fmt.Printf("prometheus-adapter 0.12.0, %s: %s is %s as a custom metric and %s as an external one\n",
			runtime.GOARCH, value, one, other)
		if value == "0.25" && (one != "250m" || other != "250m") {
			panic("a number is not the same in both")
		}
		if value == "NaN" && (one != "0" || runtime.GOARCH == "amd64" && other != "-9223372036854775808m") {
			panic("not what was seen before")
		}
	}
}
GO
cat > go.mod <<'MOD'
module finding

go 1.24

require (
	k8s.io/apimachinery v0.30.0
	sigs.k8s.io/custom-metrics-apiserver v1.30.0
	sigs.k8s.io/prometheus-adapter v0.12.0
)
MOD
go mod tidy > tidy.log 2>&1 || { cat tidy.log; exit 1; }
go run .
