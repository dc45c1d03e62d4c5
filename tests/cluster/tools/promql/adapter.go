package main

import (
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

// AdapterQuestion is what a HorizontalPodAutoscaler asks the adapter for: a metric of pods in a namespace.
type AdapterQuestion struct {
	Configuration string // the adapter's config.yaml
	Metric        string
	Namespace     string
	Pods          []string
}

var pods = schema.GroupResource{Resource: "pods"}

// expression is the query that the adapter makes, once it has found the metric's series among those that there are.
func (q AdapterQuestion) expression(stored storage, parses parser.Parser) (string, error) {
	parsed, err := config.FromYAML([]byte(q.Configuration))
	if err != nil {
		return "", err
	}
	namers, err := naming.NamersFromConfig(parsed.Rules, resources())
	if err != nil {
		return "", err
	}
	for _, namer := range namers {
		matchers, err := parses.ParseMetricSelector(string(namer.Selector()))
		if err != nil {
			return "", err
		}
		var found []client.Series
		for _, one := range stored.matching(matchers...) {
			labels := model.LabelSet{}
			for name, value := range one.Metric.Map() {
				labels[model.LabelName(name)] = model.LabelValue(value)
			}
			found = append(found, client.Series{Name: one.Metric.Get("__name__"), Labels: labels})
		}
		for _, series := range namer.FilterSeries(found) {
			name, err := namer.MetricNameForSeries(series)
			if err != nil {
				return "", err
			}
			kinds, namespaced := namer.ResourcesForSeries(series)
			if name == q.Metric && namespaced && slices.Contains(kinds, pods) {
				query, err := namer.QueryForSeries(series.Name, pods, q.Namespace, labels.Everything(), q.Pods...)
				return string(query), err
			}
		}
	}
	return "", fmt.Errorf("the adapter has no metric %s of pods", q.Metric)
}

// resources is what the adapter learns from the API server: how resources are written.
func resources() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Pod", "Namespace"} {
		mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: kind}, meta.RESTScopeNamespace)
	}
	return mapper
}
