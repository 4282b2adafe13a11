//! The first facts of a new cluster (KIP-778, KIP-966).

use ottla_metadata::Fact;
use ottla_metadata::{ResourceType, feature};
use ottla_protocol::persisted::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
};

use crate::{Turn, text};

/// The configuration that decides when a partition is under its minimum.
pub(crate) const MIN_ISR: &str = "min.insync.replicas";

impl Turn<'_, '_> {
    /// Founds the cluster when nothing was ever decided; ends what a predecessor left open.
    pub(crate) fn activate(&mut self) {
        self.plan_balance(false);
        self.plan_leaderless(false);
        if self.image().open_transaction.is_some() {
            let reason = Some(text("failover"));
            self.add(AbortTransactionRecord { reason, ..Default::default() });
        }
        if !self.image().features.is_empty() {
            return;
        }
        let settings = self.state.settings.clone();
        let level = settings.bootstrap.iter().find(|(name, _)| name == feature::METADATA_VERSION);
        let level = level.map_or(0, |(_, level)| *level);
        let begin = BeginTransactionRecord { name: Some(text("Bootstrap records")), ..Default::default() };
        // The level is not finalized yet while these are written, so it is named.
        self.facts.push(Fact::at_level(begin, level));
        for (name, feature_level) in &settings.bootstrap {
            let record =
                FeatureLevelRecord { name: text(name), feature_level: *feature_level, ..Default::default() };
            self.facts.push(Fact::at_level(record, level));
        }
        let elr =
            |(name, level): &(String, i16)| name == feature::ELIGIBLE_LEADER_REPLICAS_VERSION && *level > 0;
        if settings.bootstrap.iter().any(elr) {
            // With eligible leader replicas the minimum must be the same on all brokers, so it is pinned here.
            let layers = self.state.layers();
            let record = ConfigRecord {
                resource_type: ResourceType::BROKER.0,
                resource_name: text(""),
                name: text(MIN_ISR),
                value: Some(text(&layers.int(MIN_ISR).to_string())),
                ..Default::default()
            };
            self.facts.push(Fact::at_level(record, level));
        }
        self.facts.push(Fact::at_level(EndTransactionRecord::default(), level));
    }
}
