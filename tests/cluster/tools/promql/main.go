// Prometheus' own engine and its alerts over what servers showed at /metrics, and prometheus-adapter's own way from its
// rules to a query.
//
// Reads a Request as JSON and writes an Answer for each of its questions. Both programs are here as libraries, without
// what they do over the network: nothing listens, and nothing is kept.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Request holds scrapes, in the order in which they were made, and what is asked of them.
type Request struct {
	Scrapes   []Scrape
	Questions []Question
}

// Question is an expression, or a metric of the adapter's that it makes one of, or a file of alerts; at is in seconds.
type Question struct {
	Expression string
	Adapter    *AdapterQuestion
	Alerts     string
	At         float64
}

// Answer is what an instant query gives; a scalar is a sample without labels. Of a file of alerts it has those that are
// active, and nothing else.
type Answer struct {
	Expression string     `json:"expression"`
	Selectors  []Selector `json:"selectors"`
	Samples    []Sample   `json:"samples"`
	Warnings   []string   `json:"warnings"`
	Alerts     []Alert    `json:"alerts"`
	Error      string     `json:"error"`
}

// Selector is a series' name in an expression, and the labels that it is chosen by.
type Selector struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

// Sample has its value as Prometheus writes it: JSON knows no NaN.
type Sample struct {
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

func main() {
	var request Request
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		log.Fatal(err)
	}
	stored, err := scraped(request.Scrapes)
	if err != nil {
		log.Fatal(err)
	}
	parses := parser.NewParser(parser.Options{})
	// As Prometheus sets it by default (cmd/prometheus/main.go).
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: 2 * time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: parses,
	})
	answers := []Answer{}
	for _, question := range request.Questions {
		var answer Answer
		if err := answered(&answer, question, stored, engine, parses); err != nil {
			answer.Error = err.Error()
		}
		answers = append(answers, answer)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

func answered(answer *Answer, question Question, stored storage, engine *promql.Engine, parses parser.Parser) error {
	at := time.UnixMilli(milliseconds(question.At))
	if question.Alerts != "" {
		var err error
		answer.Alerts, err = alerted(question.Alerts, at, stored, engine, parses)
		return err
	}
	answer.Expression = question.Expression
	if question.Adapter != nil {
		made, err := question.Adapter.expression(stored, parses)
		if err != nil {
			return err
		}
		answer.Expression = made
	}
	expression, err := parses.ParseExpr(answer.Expression)
	if err != nil {
		return err
	}
	answer.Selectors = selectors(expression)
	query, err := engine.NewInstantQuery(context.Background(), stored, nil, answer.Expression, at)
	if err != nil {
		return err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return result.Err
	}
	answer.Warnings, _ = result.Warnings.AsStrings(answer.Expression, 0, 0)
	answer.Samples, err = samples(result)
	return err
}

func selectors(expression parser.Expr) []Selector {
	found := []Selector{}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if one, is := node.(*parser.VectorSelector); is {
			selector := Selector{Name: one.Name, Labels: []string{}}
			for _, matcher := range one.LabelMatchers {
				if matcher.Name != "__name__" {
					selector.Labels = append(selector.Labels, matcher.Name)
				}
			}
			found = append(found, selector)
		}
		return nil
	})
	return found
}

func samples(result *promql.Result) ([]Sample, error) {
	switch value := result.Value.(type) {
	case promql.Vector:
		found := []Sample{}
		for _, one := range value {
			found = append(found, Sample{one.Metric.Map(), written(one.F)})
		}
		return found, nil
	case promql.Scalar:
		return []Sample{{map[string]string{}, written(value.V)}}, nil
	}
	return nil, fmt.Errorf("an instant query gives a vector or a scalar, not a %s", result.Value.Type())
}

func written(value float64) string {
	return strconv.FormatFloat(value, 'g', -1, 64)
}

func milliseconds(seconds float64) int64 {
	return int64(seconds * 1000)
}
