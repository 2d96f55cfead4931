// A stand-in for Jenkins: runs a declarative Jenkinsfile with the directives and steps named below and no others,
// the shell steps for real, and prints what came of it as one JSON object.
//
//   java -cp 'GROOVY/*' groovy.ui.GroovyMain jenkins.groovy JENKINSFILE WORKSPACE [NAME=VALUE ...]
//
// NAME=VALUE is a parameter of the build, or replaces a variable of `environment`.
import groovy.json.JsonOutput

class Failed extends RuntimeException {
    Failed(String why) { super(why) }
}

class Build {
    static final List RANKS = ['SUCCESS', 'UNSTABLE', 'FAILURE']
    File workspace
    Map given = [:]
    Map params = [:]
    Map env = [:]
    List crons = []
    List options = []
    List stages = []
    List archived = []
    List messages = []
    String result = 'SUCCESS'

    void worse(String rank, String why) {
        messages << why
        if (RANKS.indexOf(rank) > RANKS.indexOf(result)) { result = rank }
    }

    int shell(String script) {
        File file = File.createTempFile('step', '.sh')
        file.text = script
        ProcessBuilder builder = new ProcessBuilder('/bin/sh', '-xe', file.path).directory(workspace)
        (env + params + [WORKSPACE: workspace.path]).each { name, value ->
            builder.environment().put(name as String, value as String)
        }
        Process process = builder.redirectErrorStream(true).start()
        process.outputStream.close()
        System.err << process.inputStream.text
        int code = process.waitFor()
        file.delete()
        code
    }
}

// Runs a closure against one object alone, so that a directive in the wrong place is an error.
class Section {
    protected final Build build
    Section(Build build) { this.build = build }

    static void within(Object section, Closure body) {
        body.delegate = section
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
    }
}

class Pipeline extends Section {
    Pipeline(Build build) { super(build) }
    void agent(Closure body) { within(new Agent(build), body) }
    void triggers(Closure body) { within(new Triggers(build), body) }
    void parameters(Closure body) { within(new Parameters(build), body) }
    void options(Closure body) { within(new Options(build), body) }
    void environment(Closure body) { within(new Environment(build), body) }
    void stages(Closure body) { within(new Stages(build), body) }
    void post(Closure body) { within(new Post(build), body) }
}

class Agent extends Section {
    Agent(Build build) { super(build) }
    void label(String name) { assert name }
}

class Triggers extends Section {
    Triggers(Build build) { super(build) }
    void cron(String spec) { build.crons << spec }
}

class Parameters extends Section {
    Parameters(Build build) { super(build) }
    void string(Map of) {
        assert of.keySet() - ['name', 'defaultValue', 'description', 'trim'] == [] as Set
        String value = build.given.getOrDefault(of.name, of.defaultValue)
        build.params[of.name] = of.trim ? value.trim() : value
    }
}

class Options extends Section {
    Options(Build build) { super(build) }
    void disableConcurrentBuilds() { build.options << 'disableConcurrentBuilds' }
    void skipDefaultCheckout() { build.options << 'skipDefaultCheckout' }
    void timeout(Map of) { assert of.time > 0 && of.unit in ['MINUTES', 'HOURS', 'DAYS'] }
    void buildDiscarder(Map keep) { assert keep }
    Map logRotator(Map of) { of }
}

class Environment extends Section {
    Environment(Build build) { super(build) }
    void setProperty(String name, Object value) { build.env[name] = build.given.getOrDefault(name, value) }
}

class Stages extends Section {
    Stages(Build build) { super(build) }
    void stage(String name, Closure body) {
        build.stages << name
        within(new Stage(build), body)
    }
}

class Stage extends Section {
    Stage(Build build) { super(build) }
    void steps(Closure body) {
        try {
            within(new Steps(build), body)
        } catch (Failed failed) {
            build.worse('FAILURE', failed.message)
        }
    }
}

class Post extends Section {
    Post(Build build) { super(build) }
    void always(Closure body) { new Stage(build).steps(body) }
}

class Steps extends Section {
    Steps(Build build) { super(build) }
    void script(Closure body) { within(this, body) }
    void unstable(String why) { build.worse('UNSTABLE', why) }
    void error(String why) { throw new Failed(why) }
    Map getParams() { build.params }
    Map getEnv() { build.env }

    Object sh(String script) { sh(script: script) }
    Object sh(Map of) {
        assert of.keySet() - ['script', 'returnStatus', 'label'] == [] as Set
        int code = build.shell(of.script)
        if (!of.returnStatus && code != 0) { throw new Failed("script returned exit code ${code}") }
        of.returnStatus ? code : null
    }

    void archiveArtifacts(Map of) {
        assert of.keySet() - ['artifacts', 'allowEmptyArchive'] == [] as Set
        List found = of.artifacts.split(',')*.trim().findAll { new File(build.workspace, it).isFile() }
        if (!found && !of.allowEmptyArchive) { throw new Failed('nothing to archive') }
        build.archived.addAll(found)
    }
}

Build build = new Build(workspace: new File(args[1]).absoluteFile)
build.given = args.drop(2).collectEntries { it.split('=', 2) as List }
Binding binding = new Binding(pipeline: { Closure body -> Section.within(new Pipeline(build), body) })
new GroovyShell(this.class.classLoader, binding).evaluate(new File(args[0]))
assert build.stages
println JsonOutput.toJson([result: build.result, messages: build.messages, archived: build.archived,
                           crons: build.crons, options: build.options, params: build.params])
