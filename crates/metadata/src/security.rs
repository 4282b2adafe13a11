//! ACLs, credentials, quotas and tokens: kept as they were recorded, for whoever decides by them, and so that a snapshot
//! loses none.

use std::collections::BTreeMap;

use ottla_protocol::persisted::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, MetadataRecord,
    UserScramCredentialRecord,
};
use uuid::Uuid;

/// A quota entity: (type, name) pairs sorted by type; no name is the default.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// Records by what they are about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// ACLs by id.
    pub acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// SCRAM credentials by user and mechanism.
    pub scram: BTreeMap<(String, i8), UserScramCredentialRecord>,
    /// Quotas by entity and key.
    pub quotas: BTreeMap<(QuotaEntity, String), ClientQuotaRecord>,
    /// Delegation tokens by id.
    pub tokens: BTreeMap<String, DelegationTokenRecord>,
}

impl Security {
    /// Adds or removes what a record says; other records are not its business.
    pub(crate) fn replay(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::AccessControlEntry(acl) => drop(self.acls.insert(acl.id, acl.clone())),
            MetadataRecord::RemoveAccessControlEntry(acl) => drop(self.acls.remove(&acl.id)),
            MetadataRecord::UserScramCredential(credential) => {
                self.scram.insert((credential.name.to_string(), credential.mechanism), credential.clone());
            }
            MetadataRecord::RemoveUserScramCredential(gone) => {
                self.scram.remove(&(gone.name.to_string(), gone.mechanism));
            }
            MetadataRecord::ClientQuota(quota) => {
                let key = (entity(quota), quota.key.to_string());
                if quota.remove {
                    self.quotas.remove(&key);
                } else {
                    self.quotas.insert(key, quota.clone());
                }
            }
            MetadataRecord::DelegationToken(token) => {
                self.tokens.insert(token.token_id.to_string(), token.clone());
            }
            MetadataRecord::RemoveDelegationToken(token) => drop(self.tokens.remove(token.token_id.as_str())),
            _ => {}
        }
    }

    /// Every record, in a fixed order.
    pub(crate) fn records(&self) -> impl Iterator<Item = MetadataRecord> {
        let scram = self.scram.values().cloned().map(MetadataRecord::from);
        let quotas = self.quotas.values().cloned().map(MetadataRecord::from);
        let tokens = self.tokens.values().cloned().map(MetadataRecord::from);
        let acls = self.acls.values().cloned().map(MetadataRecord::from);
        quotas.chain(acls).chain(scram).chain(tokens)
    }
}

fn entity(quota: &ClientQuotaRecord) -> QuotaEntity {
    let name = |part: &ottla_protocol::StrBytes| part.to_string();
    let mut entity: QuotaEntity = quota
        .entity
        .iter()
        .map(|part| (name(&part.entity_type), part.entity_name.as_ref().map(name)))
        .collect();
    entity.sort();
    entity
}
