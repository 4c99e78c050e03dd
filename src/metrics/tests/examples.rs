//! The dashboard and the alerts of `examples/monitoring` ask only for names and labels that a scrape has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::scraped;

/// name → names of its labels.
type Told = BTreeMap<String, BTreeSet<String>>;

/// Names that mean something in an expression and are neither metric nor label.
const WORDS: [&str; 18] = [
    "and",
    "by",
    "count",
    "group_left",
    "histogram_quantile",
    "ignoring",
    "increase",
    "label_values",
    "max",
    "offset",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "unless",
    "up",
    "without",
];

fn told(scrape: &str) -> Told {
    let mut told = Told::new();
    for line in scrape.lines().filter(|l| !l.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let labels = told.entry(name.to_owned()).or_default();
        // A value may have anything in it but an unescaped quote; here none is escaped.
        labels.extend(rest.split('"').step_by(2).filter_map(|part| Some(part.trim_matches(['{', ',']).strip_suffix('=')?.to_owned())));
    }
    // What Prometheus adds of itself.
    told.insert("up".to_owned(), BTreeSet::new());
    told.values_mut().for_each(|labels| labels.extend(["instance", "job"].map(str::to_owned)));
    told
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !word(c)).filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// What is wrong with an expression: names and labels that nothing has. What labels its metrics have is added to `labels`.
fn faults(expression: &str, told: &Told, labels: &mut BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    // Without what stands in quotes, and without durations.
    let bare: String = expression.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let names: Vec<&str> = words(&bare).filter(|w| told.contains_key(*w)).collect();
    let all: BTreeSet<&String> = names.iter().flat_map(|name| &told[*name]).collect();
    labels.extend(all.iter().map(|l| (*l).clone()));
    for (at, _) in bare.match_indices('{') {
        let name = words(&bare[..at]).last().unwrap_or_default();
        let matchers = bare[at + 1..].split('}').next().unwrap_or_default();
        let of = told.get(name).cloned().unwrap_or_default();
        faults.extend(words(matchers).filter(|l| !of.contains(*l)).map(|l| format!("{name} has no label {l}")));
    }
    let outside: String = bare.split('{').map(|part| part.split_once('}').map_or(part, |(_, after)| after)).collect::<Vec<_>>().join(" ");
    let known = |w: &&str| told.contains_key(*w) || WORDS.contains(w) || all.iter().any(|l| l == w);
    faults.extend(words(&outside).filter(|w| !known(w)).map(|w| format!("nothing tells of {w}")));
    if names.is_empty() {
        faults.push("it asks for nothing".to_owned());
    }
    faults.into_iter().map(|fault| format!("{fault}: {expression}")).collect()
}

/// Labels that a text shows (`{{ $labels.pod }}`, `{{pod}}`) and the expression's metrics have not.
fn shown(text: &str, labels: &BTreeSet<String>) -> Vec<String> {
    let between = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
    let names = between.map(|inside| inside.trim_start_matches("$labels.")).filter(|name| *name != "$value");
    names.filter(|name| !labels.contains(*name)).map(|name| format!("{name} is shown and not there: {text}")).collect()
}

fn dashboard_faults(dashboard: &Value, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|v| v["type"] == "query") {
        let query = variable["query"].as_str().unwrap();
        let (name, label) = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')')?.split_once(", ")).unwrap();
        let there = told.get(name).is_some_and(|labels| labels.contains(label));
        faults.extend((!there).then(|| format!("nothing tells of this: {query}")));
    }
    let names: Vec<String> = variables.iter().map(|v| format!("${}", v["name"].as_str().unwrap())).collect();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (expression, mut labels) = (target["expr"].as_str().unwrap(), BTreeSet::new());
            faults.extend(self::faults(expression, told, &mut labels));
            faults.extend(shown(target["legendFormat"].as_str().unwrap_or_default(), &labels));
            let used = expression.match_indices('$').map(|(at, _)| &expression[at..]);
            let unknown = used.filter(|used| !names.iter().any(|name| used.starts_with(name.as_str())));
            faults.extend(unknown.map(|used| format!("no such variable: {used}")));
        }
    }
    faults
}

fn alert_faults(alerts: &Value, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    for rule in alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let mut labels = BTreeSet::new();
        faults.extend(self::faults(rule["expr"].as_str().unwrap(), told, &mut labels));
        assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
        faults.extend(rule["annotations"].as_object().unwrap().values().flat_map(|text| shown(text.as_str().unwrap(), &labels)));
    }
    faults
}

#[tokio::test]
async fn dashboard_and_alerts_ask_only_for_what_there_is() {
    let (scrape, _dir) = scraped().await;
    let told = told(&scrape);
    let dashboard: Value = serde_json::from_str(include_str!("../../../examples/monitoring/dashboard.json")).unwrap();
    assert_eq!(dashboard_faults(&dashboard, &told), Vec::<String>::new());
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: BTreeSet<&str> = panels.iter().filter_map(|p| p["title"].as_str()).collect();
    assert!(titles.len() > 10 && titles.len() == panels.len(), "each panel has a title of its own");
    let alerts: Value = serde_saphyr::from_str(include_str!("../../../examples/monitoring/alerts.yaml")).unwrap();
    assert_eq!(alert_faults(&alerts, &told), Vec::<String>::new());
    let names: BTreeSet<&str> = alerts["groups"][0]["rules"].as_array().unwrap().iter().filter_map(|r| r["alert"].as_str()).collect();
    for wanted in ["Minik8sNoContainerd", "KubeContainerOOMKilled", "KubeCronJobLate"] {
        assert!(names.contains(wanted), "{wanted} in {names:?}");
    }
}

#[test]
fn a_wrong_name_label_variable_or_legend_is_found() {
    let told = told("a_total{pod=\"x\",uid=\"a{b}, c=\"} 1\nb 2\n");
    let of = |expression: &str| faults(expression, &told, &mut BTreeSet::new()).len();
    for right in [
        "a_total",
        "sum by (pod) (rate(a_total{pod=~\"x|y\",job=\"j\"}[5m])) > 0 and on (uid) a_total offset 15m",
        "time() - b > 300",
        "up{job=\"minik8s\"} == 0",
    ] {
        assert_eq!(of(right), 0, "{right}");
    }
    for wrong in
        ["a", "a_total > c", "a_total{node=\"x\"}", "b{pod=\"x\"}", "sum by (node) (a_total)", "a_total and on (node) a_total", "time()"]
    {
        assert_ne!(of(wrong), 0, "{wrong}");
    }
    let labels = BTreeSet::from(["pod".to_owned()]);
    assert_eq!(shown("{{ $labels.pod }} {{pod}} {{ $value }}", &labels), Vec::<String>::new());
    assert_eq!(shown("{{ $labels.node }} {{node}}", &labels).len(), 2);
    let dashboard = |query: &str, expression: &str| {
        let list = serde_json::json!([{"name": "v", "type": "query", "query": query}]);
        let told = told.clone();
        dashboard_faults(&serde_json::json!({"templating": {"list": list}, "panels": [{"targets": [{"expr": expression}]}]}), &told).len()
    };
    assert_eq!(dashboard("label_values(b, instance)", "b{instance=~\"$v\"}"), 0);
    assert_eq!(
        [
            dashboard("label_values(c, instance)", "b"),
            dashboard("label_values(b, pod)", "b"),
            dashboard("label_values(b, job)", "b{job=\"$w\"}")
        ],
        [1; 3]
    );
}
