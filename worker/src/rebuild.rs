//! Makes the read model anew from the topics alone: into fresh tables beside the old ones, which go on serving and being
//! projected into until both are swapped in one transaction. That takes the owner of the schema: the worker's own role
//! may fill tables, not make them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use contract::events::Topic;
use contract::ids::{ConnectorId, SpaceId, SyncId};
use futures::FutureExt;
use futures::future::BoxFuture;
use indicatif::ProgressBar;
use platform::audit::{self, Actor, AuditEvent};
use platform::db;
use platform::kafka::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::block_in_place;

use crate::config::RebuildArgs;
use crate::consume::{Message, is_about_data};
use crate::project;

const PATIENCE: Duration = Duration::from_secs(30);
const BATCH_RECORDS: usize = 2_000;
/// How often new records may arrive between reading to the end and swapping.
const SWAP_TRIES: usize = 100;

type Positions = BTreeMap<(String, i32), i64>;

/// Rebuilds, swaps, asks for a full sync of every connector (a compacted log may lack the latest word), and says what
/// it did.
///
/// # Errors
/// When PostgreSQL or Kafka is away, or the topics lack what was read of them; the old read model stays as it was then.
pub async fn rebuild(args: &RebuildArgs) -> anyhow::Result<()> {
    let settings = &args.settings;
    let pool = db::pool(&settings.database, "orchestration-worker-rebuild")?;
    let mut db = pool.acquire().await?.detach();
    // Held until this connection ends: a second rebuild would drop the first one's tables.
    let alone: bool =
        sqlx::query_scalar("select pg_try_advisory_lock(hashtext('rebuild'))").fetch_one(&mut db).await?;
    if !alone {
        bail!("another rebuild is under way; wait for its end, or stop it");
    }
    let mut log = Log::open(&settings.kafka)?;
    sqlx::raw_sql("set statement_timeout = 0").execute(&mut db).await?;
    log.check(&projected(&mut db).await?)?;
    if !args.accept_loss {
        log.refuse_loss(&mut db).await?;
    }
    sqlx::raw_sql(FRESH_TABLES).execute(&mut db).await?;
    let bar = ProgressBar::new(log.ahead()?);
    let mut swapped = false;
    for _ in 0..SWAP_TRIES {
        log.project_to_end(&mut db, &bar).await?;
        if swap(&mut db, &log.positions).await? {
            swapped = true;
            break;
        }
    }
    bar.finish_and_clear();
    db.close().await?;
    if !swapped {
        bail!(
            "records arrive faster than they can be read; try again at a quieter time, the old read model stays"
        );
    }
    let asked = ask_for_full_syncs(&pool).await?;
    println!("the read model is new, from {} records; {asked} full syncs asked for", log.read);
    Ok(())
}

const FRESH_TABLES: &str = "
    drop schema if exists rebuild cascade;
    create schema rebuild;
    create table rebuild.pipelines (like public.pipelines including all);
    create table rebuild.runs (like public.runs including all);
    create table rebuild.task_runs (like public.task_runs including all);
    -- All but what the tables themselves are set to.
    do $$
    declare
        kept record;
    begin
        for kept in select relname, array_to_string(reloptions, ', ') as options from pg_class
            where oid in ('public.pipelines'::regclass, 'public.runs'::regclass, 'public.task_runs'::regclass)
                and reloptions is not null
        loop
            execute format('alter table rebuild.%I set (%s)', kept.relname, kept.options);
        end loop;
    end $$;
    -- From here on this connection finds the fresh tables first.
    set search_path = rebuild, public";

/// Indexes get the names of those they stand in for, so that later migrations find them; triggers are made again, and
/// owners and rights are what they were.
const SWAP: &str = "
    do $$
    declare
        names jsonb;
        renamed record;
        again text[];
        statement text;
    begin
        with old as (
            select oid, relname, relowner, relacl from pg_class where oid in
                ('public.pipelines'::regclass, 'public.runs'::regclass, 'public.task_runs'::regclass))
        select array_agg(made) into again from (
            select pg_get_triggerdef(t.oid) as made from pg_trigger t join old on old.oid = t.tgrelid
            where not t.tgisinternal
            union all
            select format('alter table public.%I owner to %I', relname, pg_get_userbyid(relowner)) from old
            union all
            select format('grant %s on public.%I to %I', may.privilege_type, relname, pg_get_userbyid(may.grantee))
            from old, aclexplode(relacl) may where may.grantee not in (0, relowner)) statements;
        select jsonb_object_agg(fresh.indexname, old.indexname) into names
        from pg_indexes fresh join pg_indexes old on old.schemaname = 'public' and old.tablename = fresh.tablename
            and split_part(old.indexdef, ' USING ', 2) = split_part(fresh.indexdef, ' USING ', 2)
        where fresh.schemaname = 'rebuild';
        drop table public.pipelines, public.runs, public.task_runs;
        alter table rebuild.pipelines set schema public;
        alter table rebuild.runs set schema public;
        alter table rebuild.task_runs set schema public;
        drop schema rebuild;
        for renamed in select key, value from jsonb_each_text(names) where key <> value loop
            execute format('alter index public.%I rename to %I', renamed.key, renamed.value);
        end loop;
        foreach statement in array again loop
            execute statement;
        end loop;
        perform count_all_runs();
    end $$";

/// The state topics, read from the start.
struct Log {
    kafka: KafkaConfig,
    consumer: BaseConsumer,
    positions: Positions,
    read: u64,
}

impl Log {
    fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = kafka
            .client()
            .set("group.id", kafka.group("rebuild"))
            .set("enable.auto.commit", "false")
            .set("queued.max.messages.kbytes", "32768")
            .create()?;
        let mut positions = Positions::new();
        let mut partitions = TopicPartitionList::new();
        for topic in Topic::STATE.map(|topic| kafka.topic(topic)) {
            let metadata = block_in_place(|| consumer.fetch_metadata(Some(&topic), PATIENCE))
                .context("Kafka does not answer")?;
            let found = metadata.topics().iter().flat_map(|topic| topic.partitions());
            if found.clone().next().is_none() {
                bail!("there is no topic {topic}; check --kafka-prefix");
            }
            for partition in found {
                partitions.add_partition_offset(&topic, partition.id(), Offset::Beginning)?;
                let (low, _) =
                    block_in_place(|| consumer.fetch_watermarks(&topic, partition.id(), PATIENCE))?;
                positions.insert((topic.clone(), partition.id()), low);
            }
        }
        consumer.assign(&partitions)?;
        Ok(Self { kafka: kafka.clone(), consumer, positions, read: 0 })
    }

    /// Refuses topics of which nothing was ever projected: they are another installation's.
    fn check(&self, projected: &Positions) -> anyhow::Result<()> {
        match projected.is_empty() || projected.keys().any(|place| self.positions.contains_key(place)) {
            true => Ok(()),
            false => bail!("nothing of these topics was ever projected; check --kafka-prefix"),
        }
    }

    /// Refuses topics that end before what rows say was read of them: Kafka lost it, and a rebuild would lose the rows.
    async fn refuse_loss(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        let read: (Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
            "select (select max(log_offset) from pipelines), (select max(log_offset) from runs),
                 (select max(log_offset) from task_runs)",
        )
        .fetch_one(db)
        .await?;
        for (topic, read) in Topic::STATE.into_iter().zip([read.0, read.1, read.2]) {
            let name = self.kafka.topic(topic);
            let mut end = 0;
            for (_, partition) in self.positions.keys().filter(|(topic, _)| *topic == name) {
                let (_, high) =
                    block_in_place(|| self.consumer.fetch_watermarks(&name, *partition, PATIENCE))?;
                end = end.max(high);
            }
            if let Some(read) = read.filter(|read| *read >= end) {
                bail!(
                    "{name} ends at {end}, but rows were read at {read} of it: Kafka lost what it said of them, and a rebuild would lose them too; deploy/README.md says how to have it said again, --accept-loss goes on without"
                );
            }
        }
        Ok(())
    }

    /// How many offsets lie before the end.
    fn ahead(&self) -> anyhow::Result<u64> {
        let mut ahead = 0;
        for ((topic, partition), position) in &self.positions {
            let (_, high) = block_in_place(|| self.consumer.fetch_watermarks(topic, *partition, PATIENCE))?;
            ahead += (high - position).max(0);
        }
        Ok(ahead.unsigned_abs())
    }

    async fn project_to_end(&mut self, db: &mut PgConnection, bar: &ProgressBar) -> anyhow::Result<()> {
        while self.ahead()? > 0 {
            let messages = block_in_place(|| self.collect())?;
            let mut tx = db.begin().await?;
            apply(&mut tx, &messages).await?;
            tx.commit().await?;
            bar.inc(messages.len() as u64);
            self.read += messages.len() as u64;
        }
        Ok(())
    }

    fn collect(&mut self) -> anyhow::Result<Vec<Message>> {
        let mut messages = Vec::new();
        while messages.len() < BATCH_RECORDS {
            let Some(message) = self.consumer.poll(Duration::from_millis(200)) else { break };
            let message =
                Message::read(&message.context("Kafka does not answer well")?, &self.kafka, &Topic::STATE);
            self.positions.insert((message.topic_name.clone(), message.partition), message.offset + 1);
            messages.push(message);
        }
        Ok(messages)
    }
}

/// Applies what makes sense, and passes over the rest. What PostgreSQL will not take for its content is searched by halves.
fn apply<'a>(db: &'a mut PgConnection, messages: &'a [Message]) -> BoxFuture<'a, Result<(), sqlx::Error>> {
    async move {
        let mut step = db.begin().await?;
        let error = match project::apply(&mut step, messages).await {
            Ok(dead) => {
                dead.iter().for_each(|dead| pass_over(&messages[dead.message], &dead.error));
                return step.commit().await;
            }
            Err(error) if is_about_data(&error) => error,
            Err(error) => return Err(error),
        };
        step.rollback().await?;
        if let [message] = messages {
            pass_over(message, &error.to_string());
            return Ok(());
        }
        let (first, second) = messages.split_at(messages.len() / 2);
        apply(db, first).await?;
        apply(db, second).await
    }
    .boxed()
}

fn pass_over(message: &Message, error: &str) {
    let Message { topic_name, partition, offset, .. } = message;
    tracing::warn!(
        topic = topic_name,
        partition,
        offset,
        error,
        "a record makes no sense and is passed over"
    );
}

/// Swaps the tables, unless the worker that projects meanwhile has come further than we have.
async fn swap(db: &mut PgConnection, reached: &Positions) -> anyhow::Result<bool> {
    let mut tx = db.begin().await?;
    // No projection commits from here on.
    sqlx::raw_sql("lock table projection_offsets in exclusive mode").execute(&mut *tx).await?;
    let is_behind = projected(&mut tx)
        .await?
        .into_iter()
        .any(|(place, next)| reached.get(&place).is_some_and(|reached| *reached < next));
    if is_behind {
        return Ok(false);
    }
    sqlx::raw_sql(SWAP).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// How far the live read model has come.
async fn projected(db: &mut PgConnection) -> Result<Positions, sqlx::Error> {
    let projected: Vec<(String, i32, i64)> =
        sqlx::query_as("select topic, partition, next_offset from projection_offsets").fetch_all(db).await?;
    Ok(projected.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect())
}

async fn ask_for_full_syncs(pool: &PgPool) -> anyhow::Result<usize> {
    let mut tx = pool.begin().await?;
    let asked: Vec<(SyncId, SpaceId, ConnectorId)> = sqlx::query_as(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", requested_at, accepted_at)
           select gen_random_uuid(), space_id, id, 'queued', 'manual', true, now(), now() from connectors
           where is_active and deleted_at is null and connector_type = $1
           returning id, space_id, connector_id"#,
    )
    .bind(provider::connector::AIRFLOW)
    .fetch_all(&mut *tx)
    .await?;
    for (sync, space, connector) in &asked {
        let act = AuditEvent::request_sync(Actor::CommandLine, *connector, *sync, true, false);
        audit::record(&mut tx, *space, &act).await?;
    }
    tx.commit().await?;
    Ok(asked.len())
}
