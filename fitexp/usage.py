"""What `fitexp --help` and the --help of each command say."""

from __future__ import annotations

USAGE = """\
fitexp: experiments on workouts, exercises and wearables

  fitexp train [OVERRIDES] [HYDRA'S OPTIONS]   train and test a model; the last line is its folder
  fitexp resume RUN                            go on with an interrupted run, bit-identical on a CPU
  fitexp evaluate RUN [OVERRIDES]              test once more, also on other data (data.path=...)
  fitexp predict RUN FILE... [--user ID]       heart rate of workouts, or of people's days
  fitexp explain RUN                           which inputs matter, which athletes are alike
  fitexp recommend RUN --target 140            routes and sports that reach a heart rate
  fitexp recommend RUN --user ID               exercises that come next; ask an expert?
  fitexp ask RUN --queue FILE | --answers FILE questions to an expert; answers tune the run
  fitexp replay RUN [--update U] [--rate R]    active learning over a ranking's left-out users
  fitexp transfer RUN [--outcome NAME,..]      what embeddings tell of users, beside baselines
  fitexp embed RUN [-o users.parquet]          embeddings of users, or of windows, as a table
  fitexp rerun RUN [--fresh]                   train again from the folder alone; do figures agree?
  fitexp ls [PATH] [--filter F] [--sort KEY]   runs under PATH (outputs/) with their status and test
  fitexp diff RUN RUN                          config, code, data and figures that differ
  fitexp board [PATH] [--port N]               TensorBoard on PATH (outputs/)
  fitexp compare RUNS... [--by KEYS]           runs beside baselines: seeds averaged, paired tests
  fitexp reproduce TABLE [--quick]             a paper's table: its figures beside measured ones
  fitexp data prepare|describe [OVERRIDES]     prepare the arrays of a config; describe the data
  fitexp data fetch movielens100k [--from F]   a public set, put into the cache folder

  --help     this text; fitexp train --help lists all groups, choices and keys
  --version  of fitexp
  --debug    show tracebacks of mistakes too

  fitexp train model=fitrec_attn trainer.max_epochs=5 seed=1
  fitexp train data=workout_table data.path=FOLDER -m seed=1,2,3
"""

HELP = {
    "train": """\
fitexp train [OVERRIDES] [OPTIONS]: compose a config, train, test, print a table and its folder

  GROUP=CHOICE KEY=VALUE ~KEY +KEY=VALUE   overrides; every option and override in any order
  -m, --multirun     one run for each combination of KEY=A,B, at the end a table of the jobs; the
                     same command again skips what is finished and goes on with the rest
  --fresh            of a multirun: train finished runs again, beside the old ones
  --cfg job|hydra|all [--resolve] [--package KEY]   print the config and stop
  --info [WHAT]      how the config is composed
  --config-dir DIR   a folder with further configs
  hydra.run.dir=DIR  the run's folder (default: outputs/DATE_TIME_MODEL)
  -sc install=bash   shell completion (bash, zsh, fish)
""",
    "resume": """\
fitexp resume RUN [--allow PREFIX]: go on with an interrupted run, then test it

  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "evaluate": """\
fitexp evaluate RUN [OVERRIDES] [--allow PREFIX]: test a run's best.ckpt, print the table

  KEY=VALUE        of the run's config.yaml (data.path=FOLDER, accelerator.devices=1, ...)
  adapt=CHOICE     of exercises: networks trained on for each new user (adapt=similar_users)
  expert=CHOICE    of exercises: an expert is asked (expert=asked expert.policy=margin
                   expert.rate=0.1 expert.update=alike); both write RUN/evaluations/N, as other
                   data do
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "predict": """\
fitexp predict RUN FILE... [OPTIONS]: heart rate of the workouts in FIT, TCX, GPX (also .gz) or CSV
files, with or without measured heart rate: a CSV and a picture each, and a summary table

  -o DIR           where to (default: outputs/predictions/NAME_OF_RUN)
  --user ID        an athlete of the run's data; without, the population is used
  --sport NAME     where a file does not say it, or says it otherwise than the run's data
  --given 10min    the files' first minutes of heart rate may be used: the day's offset
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)

  CSV: t_s (s from the start), speed_mps, speed_km_h, distance_m or distance_km, altitude_m,
  heart_rate (bpm). --athlete is --user.

fitexp predict RUN FILE [OPTIONS], of a run of windows: heart rate over time of the people in a CSV
or Parquet file of epochs (user, time, the run's series, heart_rate optional), or of a person's raw
acceleration (time, x, y, z in g): with a 90 % band, a CSV and a picture each

  --every SECONDS  from forecast to forecast, a multiple of the run's epoch (default: 60)
  --users FILE     CSV of what is known of them (user, age_years, resting_hr_bpm, ...)
  --user ID        one of the file's people; -o and --allow as above
""",
    "explain": """\
fitexp explain RUN [OPTIONS]: what a trained model goes by: the rise of its test error when an input
is another workout's, its attention where it has one, athletes clustered by their embeddings

  -o DIR           pictures and tables (default: outputs/explanations/NAME_OF_RUN)
  --user ID        test workouts of one athlete only
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "recommend": """\
fitexp recommend RUN --user ID --target TARGET [OPTIONS]: routes and sports that should bring a
user's heart rate closest to a target: a table, recommendations.csv, a picture of the best three
fitexp recommend RUN --evaluate: how often that finds the true plan of the run's test workouts;
written to RUN/recommend.json and as test/recommend/... to RUN/metrics.json

  --target 140               mean, bpm
  --target 130-145x30min     minutes within bpm
  --target FILE.csv          a profile: t_s (s from the start), heart_rate (bpm)
  --user ID        an athlete of the run's data; without, the population is used
  --routes FOLDER  of GPX, TCX and FIT files (also .gz), with or without times (default: the
                   workouts of the run's data)
  --speed RUN      a trained run of speed (data.target=derived_speed) tells how fast the user
                   covers what was not recorded (default: the user's median by grade)
  --sport NAME     may be repeated (default: the sports of the user's training workouts)
  --top 10         rows of the table; recommendations.csv has all
  --long           also what lasts longer than the run was trained on (data.max_steps)
  -o DIR           where to (default: outputs/recommendations/NAME_OF_RUN)
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)

  Speed: as recorded, else (no times, another sport) the user's habit in training by grade.

fitexp recommend RUN --user ID [OPTIONS], RUN of exercises: what comes next by the model that leaves
nobody out, and whether an expert would be asked; all items in next.csv

  --user ID        a user of the run's data: recorded events and profile
  --history FILE   what a new user did (CSV, oldest first: item, time in days, success, ...); the
                   profile is then the training mean
  --top 5          rows of the table
  --level 0.05     of asking: the expert is asked below this quantile of the test's margins
  -o DIR, --allow PREFIX   as above
""",
    "ask": """\
fitexp ask RUN --queue FILE [OPTIONS]: of every user's next exercise, those that a model is unsure
of, as a CSV with the model's five likeliest; an expert fills in the column item
fitexp ask RUN --answers FILE: keep the answers (columns question or user, and item) in
RUN/answers.csv, tune the model that answers people on them, write the run RUN/answered/N
fitexp ask RUN: go on with answers that are kept, if that was interrupted

  --level 0.05     of asking: the expert is asked below this quantile of the test's margins
  --user ID        questions about this user only; may be repeated
  --update RULE    last_layer (default) | all: which weights move, 2 steps of Adam(0.01) on all
                   answers and 30 training rows
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)

  A mistake in any answer: none is taken. The same command again takes no answer twice.
""",
    "replay": """\
fitexp replay RUN [OPTIONS]: active learning over the left-out users of a ranking, event by event:
whom an expert would be asked about, what the answers change, figures with intervals over users

  --policy P,...   when to ask: margin, entropy (below a threshold that the other left-out users
                   are below at that rate), dirichlet (that level of the law fitted to their
                   margins), printed (margin 0.18), random, never, always (default: margin); rows
                   of no learning and of random questions are added
  --update U,...   none | last_layer | all | rows_only | buffer | bias | profile | counter | alike:
                   what an answer does to the user's own model (default: last_layer,alike);
                   rows_only: last_layer without answers; counter_history, alike_history: no
                   learners, as they read all past events, asked about or not
  --rate R,...     shares of events to ask about (default: 0.01,0.05,0.1)
  --search         choose each update's setting on even-numbered users, report it on the others
                   (minutes; margin and random, 0.1,0.15): replay_search.csv
  -o DIR           replay.json, replay.csv, three pictures (default: the run's folder)
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "transfer": """\
fitexp transfer RUN [OPTIONS]: outcomes of users (age, fitness, ...) from the run's embeddings by a
linear probe, beside resting heart rate alone, feature means and noise; intervals over test users

  --outcome N,...  columns of the users' table (default: the eight of Step2Heart's table 5)
  --users FILE     outcomes from a CSV or Parquet table: user_id and up to 40 columns of numbers
  --pool HOW       mean (default) | min | max | median: of a user's windows
  --beside RUN,... embeddings of other runs on the same users, as an autoencoder's
  --draws N        probes of noise for each outcome, 0 for none (default: 10)
  --evaluate       the AUCs go into the run's metrics.json as well; takes no other option
  -o DIR           transfer.json, transfer.csv, two pictures (default: the run's folder)
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "embed": """\
fitexp embed RUN [FILE] [OPTIONS]: a Parquet table of user_id, part, windows, e_0, e_1, ...: each
user's embedding, pooled over windows. FILE: of other people, as fitexp predict takes it; they
have no part

  --windows        a row a window: user_id, part, step (the row of the user it begins at), e_0, ...
  --pool HOW       mean (default) | min | max | median
  --users FILE     CSV of what is known of the people in FILE (user, age_years, ...)
  -o FILE          default: users.parquet
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "rerun": """\
fitexp rerun RUN [--fresh] [--allow PREFIX]: train again from RUN's config.yaml alone, in a new
folder RUN_rerun beside it; say what differs (code, packages, data) and whether the figures agree

  --fresh          another time, though there is such a folder; else an interrupted one goes on and
                   a finished one by the same code and data is only compared
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "ls": """\
fitexp ls [PATH] [OPTIONS]: the runs in and under PATH (default: outputs/)

  --filter 'model=fitrec* test/mae_bpm<8'   KEY=GLOB, KEY!=GLOB, KEY< <= > >= NUMBER; all must hold
  --sort KEY    runs without a value last; -KEY from the largest to the smallest
  --json        rows with all their metrics

  KEY: run, status, model, data, protocol, regime, split, history, target, seed, created, time (s),
  a metric (test/rmse_bpm), a group (loss) or a dotted key of the config (model.hidden). What is
  asked for gets a column. test mae of short runs: one figure a horizon; rankings show top-1
  (--sort -test/top1: the best first).
""",
    "diff": """\
fitexp diff RUN RUN [--json]: what differs from the first run to the second: keys of the config,
versions, code, hashes of data and split; then metrics side by side (--json: baselines too)
""",
    "board": """\
fitexp board [PATH] [--port N]: open TensorBoard on PATH (default: outputs/), a run or a folder
""",
    "compare": """\
fitexp compare RUNS... [OPTIONS]: finished runs beside their baselines, under their protocols

  RUNS              run folders, folders of runs, 'patterns*'; unfinished ones are left out
  --by KEYS         groups: model, data, loss, ... or config keys as model.score, between commas
                    (default: model and what else differs, but not the seed, which is averaged)
  --metric NAMES    of metrics.json, as test/at_60s/mae_bpm or test/mrr (default: MAE and RMSE of
                    the test; of rankings top1, top5 and top10)
  --against GROUP   the reference: a group or a baseline (default: the best baseline but oracles)
  --format FORMAT   table | md | csv | latex | json

  Differences are paired by user (10,000 bootstrap resamples; below 10 users of workouts, or of
  events, within users), with Holm's correction. Lower is better for errors, higher for rankings.
""",
    "reproduce": """\
fitexp reproduce TABLE [OVERRIDES] [OPTIONS]: train the rows of a paper's table, then print its
figures beside the measured ones, with baselines and 95 % intervals. The same command again goes
on where it was cut; finished runs are reused. The table alone is on standard output.

  --list            the tables there are
  --quick           one seed, less data, fewer epochs; headed QUICK
  --seeds N         runs a row (default: the table's)
  --format FORMAT   table | md | csv | latex | json
  --fresh           train finished runs again
  --config-dir DIR  a folder with further configs, as DIR/table/mine.yaml
  OVERRIDES         for every row: data=workout_table data.path=FOLDER, hydra/launcher=joblib, ...
""",
    "data": """\
fitexp data prepare [OVERRIDES]    prepare and cache the arrays of a config, print counts
fitexp data describe [OVERRIDES]   prepare them, print what they hold, draw it to
                                   outputs/describe/SOURCE.png (the last line)
fitexp data fetch movielens100k [--from FILE]   put it where data=movielens100k looks for it; the
                                   last line is that folder

  --from FILE   GroupLens' ml-100k.zip or RecBole's wheel (default: download that zip; its terms
                forbid passing it on)

  Overrides and Hydra's options as of `fitexp train` (data=dstress_sim data.window=3, ...).
""",
}
