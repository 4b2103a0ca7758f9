//! Tags: rules, and the operations that change and show them.
//!
//! At most 50 per resource. Keys and values beginning with `aws:` belong to the service, keys
//! beginning with `kindred:` to this server's own job options. Those are read when the job is
//! created, see [`of_new_segment_job`]; anywhere else such a key is refused rather than kept without
//! effect. Messages never show tags, which may be secret.

use super::Context;
use crate::error::Exception;
use kindred_catalog::Tx;
use kindred_catalog::records::Schema;
use kindred_types::interacted::InteractedRule;
use kindred_types::shapes::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest,
    TagResourceResponse, UntagResourceRequest, UntagResourceResponse,
};
use std::collections::{BTreeMap, BTreeSet};

/// Tags of one resource at most.
const TAGS_MAX: usize = 50;

/// Tag of a segment job: whether the probability of each user is written.
const SCORES: &str = "kindred:scores";

/// Tag of a segment job: who interacted with what a line asks for is left out.
const EXCLUDE_INTERACTED: &str = "kindred:exclude-interacted";

/// The job options that tags can give.
const OPTIONS: [&str; 2] = [SCORES, EXCLUDE_INTERACTED];

/// What the tags of a segment job ask for; the configuration decides about the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentChoices {
    /// Write the probability of each user.
    pub(crate) scores: Option<bool>,
    /// Leave out who interacted with what a line asks for.
    pub(crate) exclude_interacted: Option<InteractedRule>,
}

/// Adds tags; the value of a key that is there already is replaced.
pub(crate) fn tag_resource(
    ctx: &Context,
    request: TagResourceRequest,
) -> Result<TagResourceResponse, Exception> {
    ctx.catalog.write(|tx| {
        need_taggable(ctx, tx, &request.resource_arn)?;
        let mut tags = tx.tags(&request.resource_arn)?;
        let added = unique(&request.tags)?;
        need_no_options(&added, &[])?;
        tags.extend(added);
        need_few(tags.len())?;
        tx.set_tags(&request.resource_arn, &tags)?;
        Ok(TagResourceResponse::default())
    })
}

/// Removes tags; keys that are not there are no error.
pub(crate) fn untag_resource(
    ctx: &Context,
    request: UntagResourceRequest,
) -> Result<UntagResourceResponse, Exception> {
    ctx.catalog.write(|tx| {
        need_taggable(ctx, tx, &request.resource_arn)?;
        let keys: BTreeSet<&str> = request.tag_keys.iter().map(String::as_str).collect();
        if keys.len() > TAGS_MAX {
            return Err(Exception::too_many_tag_keys(format!(
                "The request names {} tag keys; at most {TAGS_MAX} can be removed in one call.",
                keys.len()
            )));
        }
        let mut tags = tx.tags(&request.resource_arn)?;
        tags.retain(|key, _| !keys.contains(key.as_str()));
        tx.set_tags(&request.resource_arn, &tags)?;
        Ok(UntagResourceResponse::default())
    })
}

/// Shows the tags, sorted by key.
pub(crate) fn list_tags_for_resource(
    ctx: &Context,
    request: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Exception> {
    ctx.catalog.read(|tx| {
        need_taggable(ctx, tx, &request.resource_arn)?;
        let tags = tx.tags(&request.resource_arn)?;
        let tags = tags
            .into_iter()
            .map(|(tag_key, tag_value)| Tag { tag_key, tag_value });
        Ok(ListTagsForResourceResponse {
            tags: Some(tags.collect()),
        })
    })
}

/// The tags of a create request, checked.
pub(crate) fn of_new_resource(tags: Option<&[Tag]>) -> Result<BTreeMap<String, String>, Exception> {
    let tags = unique(tags.unwrap_or_default())?;
    need_no_options(&tags, &[])?;
    need_few(tags.len())?;
    Ok(tags)
}

/// The same for a segment job, and what its tags ask for.
pub(crate) fn of_new_segment_job(
    tags: Option<&[Tag]>,
) -> Result<(BTreeMap<String, String>, SegmentChoices), Exception> {
    let tags = unique(tags.unwrap_or_default())?;
    need_no_options(&tags, &OPTIONS)?;
    need_few(tags.len())?;
    let scores = match tags.get(SCORES).map(String::as_str) {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            return Err(Exception::invalid_input(format!(
                "The value of tag {SCORES} must be true or false."
            )));
        }
    };
    let exclude_interacted = match tags.get(EXCLUDE_INTERACTED).map(String::as_str) {
        None | Some("false") => None,
        Some(rule) => Some(rule.parse::<InteractedRule>().map_err(|error| {
            Exception::invalid_input(format!(
                "The value of tag {EXCLUDE_INTERACTED} is not valid: {error}."
            ))
        })?),
    };
    let choices = SegmentChoices {
        scores,
        exclude_interacted,
    };
    Ok((tags, choices))
}

/// No tag is a job option, but for those `known`.
fn need_no_options(tags: &BTreeMap<String, String>, known: &[&str]) -> Result<(), Exception> {
    let is_option = |key: &&String| begins_with(key, "kindred:") && !known.contains(&key.as_str());
    if !tags.keys().any(|key| is_option(&key)) {
        return Ok(());
    }
    Err(Exception::invalid_input(format!(
        "Tag keys must not begin with kindred:, which is reserved for options of new jobs. Those are {}, for CreateBatchSegmentJob.",
        OPTIONS.join(" and ")
    )))
}

fn unique(tags: &[Tag]) -> Result<BTreeMap<String, String>, Exception> {
    let mut unique = BTreeMap::new();
    for Tag { tag_key, tag_value } in tags {
        if begins_with(tag_key, "aws:") || begins_with(tag_value, "aws:") {
            return Err(Exception::invalid_input(
                "Tag keys and values must not begin with aws:, which is reserved.",
            ));
        }
        if unique.insert(tag_key.clone(), tag_value.clone()).is_some() {
            return Err(Exception::invalid_input(
                "The request names a tag key more than once. Give each key one value.",
            ));
        }
    }
    Ok(unique)
}

fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn need_few(tags: usize) -> Result<(), Exception> {
    if tags <= TAGS_MAX {
        return Ok(());
    }
    Err(Exception::too_many_tags(format!(
        "The resource would have {tags} tags; at most {TAGS_MAX} are allowed."
    )))
}

fn need_taggable(ctx: &Context, tx: &Tx<'_>, arn: &str) -> Result<(), Exception> {
    if tx.get::<Schema>(arn)?.is_some() || super::recipe::is_service_resource(ctx, arn) {
        return Err(Exception::invalid_input(format!(
            "Resource {arn} cannot be tagged."
        )));
    }
    if !tx.exists(arn)? {
        return Err(Exception::not_found_arn(arn));
    }
    Ok(())
}
