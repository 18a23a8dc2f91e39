//! The reconciliation of incidents with the signals of an evaluation. All is written in one transaction, and
//! the ids follow from the signals, so that a repetition changes nothing.

use std::collections::{BTreeMap, HashMap};

use contract::ids::IncidentId;
use contract::state::IncidentKind;
use platform::incidents::{IncidentTransition, publish, publish_state};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Evaluation, Signal};
use crate::store::incidents::{self, ObservedIncident, UnresolvedIncident};
use crate::store::signals::{self, FailedTasks, Occurrence};

/// How many incidents are opened in one transaction; the others follow in the next one.
const MAX_OPENED: usize = 500;

/// What an evaluation has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    /// The kinds of the incidents that were opened.
    pub opened: Vec<IncidentKind>,
    pub counted: usize,
    pub resolved: usize,
    /// How many incidents of each kind are unresolved afterwards.
    pub unresolved: BTreeMap<IncidentKind, usize>,
}

impl Transitions {
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.counted == 0 && self.resolved == 0
    }
}

type UnresolvedIncidents = HashMap<(Uuid, IncidentKind), UnresolvedIncident>;

pub(super) async fn reconcile(db: &mut PgConnection, evaluation: &Evaluation) -> sqlx::Result<Transitions> {
    let unresolved = incidents::find_unresolved(&mut *db).await?;
    let occurrences: Vec<Occurrence> =
        evaluation.signals.values().flat_map(|signal| signal.occurrences.clone()).collect();
    let mut new: HashMap<(Uuid, IncidentKind), i32> = HashMap::new();
    for occurrence in signals::insert(&mut *db, &occurrences).await? {
        *new.entry((occurrence.pipeline_id.0, occurrence.kind)).or_default() += 1;
    }
    let resolvable: Vec<IncidentId> = unresolved
        .iter()
        .filter(|(key, incident)| is_over(evaluation, **key, incident))
        .map(|(_, incident)| incident.id)
        .collect();
    let resolved = incidents::resolve(&mut *db, &resolvable).await?;
    publish(db, &resolved, IncidentTransition::Resolved).await?;
    let opened = open(db, evaluation, &unresolved).await?;
    let counted = count(db, evaluation, &unresolved, &new).await?;
    let mut kinds: BTreeMap<IncidentKind, usize> = BTreeMap::new();
    let remaining = unresolved.iter().filter(|(_, incident)| !resolved.contains(&incident.id));
    for kind in remaining.map(|((_, kind), _)| kind).chain(&opened) {
        *kinds.entry(*kind).or_default() += 1;
    }
    Ok(Transitions { opened, counted, resolved: resolved.len(), unresolved: kinds })
}

/// Whether an incident has no signal any more. What is not seen, because its connector is stale or switched
/// off, is not over.
fn is_over(evaluation: &Evaluation, key: (Uuid, IncidentKind), incident: &UnresolvedIncident) -> bool {
    let needs_sight =
        matches!(incident.kind, IncidentKind::Slow | IncidentKind::LateStart | IncidentKind::LateFinish);
    let is_unseen = needs_sight && evaluation.stale.contains(&incident.connector_id)
        || incident.pipeline_id.is_some() && evaluation.switched_off.contains(&incident.connector_id);
    let has_signal = evaluation.signals.contains_key(&key) || evaluation.unresolved.contains(&key);
    evaluation.is_complete && !is_unseen && !has_signal
}

/// Opens the incidents of signals that have none; returns their kinds. A late end opens none while the run is
/// slow: the cause is known already.
async fn open(
    db: &mut PgConnection,
    evaluation: &Evaluation,
    unresolved: &UnresolvedIncidents,
) -> sqlx::Result<Vec<IncidentKind>> {
    let is_caused = |subject, kind| {
        kind == IncidentKind::LateFinish && evaluation.signals.contains_key(&(subject, IncidentKind::Slow))
    };
    let opening: Vec<ObservedIncident> = evaluation
        .signals
        .iter()
        .filter(|((subject, kind), _)| !unresolved.contains_key(&(*subject, *kind)))
        .filter(|((subject, kind), _)| !is_caused(*subject, *kind))
        .take(MAX_OPENED)
        .map(|(_, Signal { incident, occurrences })| ObservedIncident {
            count: incident.count.max(occurrences.len() as i32),
            ..incident.clone()
        })
        .collect();
    let opened = incidents::open(&mut *db, &opening).await?;
    for (transition, is_new) in [(IncidentTransition::Opened, true), (IncidentTransition::Reopened, false)] {
        let ids: Vec<IncidentId> =
            opened.iter().filter(|(_, new)| *new == is_new).map(|(id, _)| *id).collect();
        publish(db, &ids, transition).await?;
    }
    let is_opened = |incident: &&ObservedIncident| opened.iter().any(|(id, _)| *id == incident.id);
    Ok(opening.iter().filter(is_opened).map(|incident| incident.kind).collect())
}

/// Counts further failures, runs and due times of unresolved incidents, and adds failed tasks that were not
/// there before to their evidence; returns how many incidents have counted something.
async fn count(
    db: &mut PgConnection,
    evaluation: &Evaluation,
    unresolved: &UnresolvedIncidents,
    new: &HashMap<(Uuid, IncidentKind), i32>,
) -> sqlx::Result<usize> {
    let (mut counted, mut described) = (Vec::new(), Vec::new());
    for (key, Signal { incident, .. }) in &evaluation.signals {
        let Some(known) = unresolved.get(key) else { continue };
        let further = new.get(key).copied().unwrap_or_default();
        let count = incident.count.max(known.count + further);
        let is_further_failure = key.1 == IncidentKind::Failing && incident.last_run_id != known.last_run_id;
        let observed = ObservedIncident { id: known.id, count, ..incident.clone() };
        if count > known.count || is_further_failure {
            counted.push(observed);
        } else if FailedTasks::FIELDS.iter().any(|it| incident.evidence[it] != known.evidence[it]) {
            described.push(observed);
        }
    }
    let counted = incidents::update(&mut *db, &counted).await?;
    publish(db, &counted, IncidentTransition::Increased).await?;
    let described = incidents::update(&mut *db, &described).await?;
    publish_state(db, &described).await?;
    Ok(counted.len())
}
